"""Tell what a file is by its first bytes, so that an error can say what came instead of an archive."""

from __future__ import annotations


def looks_like(head: bytes) -> tuple[str, str]:
    """Say what a file that is no archive looks like, and what to do about it.

    Returns:
        A noun phrase and a hint.
    """
    text = head.lstrip().lower()
    if not head:
        return "an empty file", "the download or copy was cut off before its first byte: fetch it again"
    if head.startswith(b"version https://git-lfs"):
        return "a git-lfs pointer", "fetch the file itself with git lfs pull"
    if text.startswith((b"<!doctype html", b"<html")):
        return "an HTML page", "the address answered with a web page, perhaps a login or an error: check it in a browser"
    if text.startswith((b"<?xml", b"<error")):
        return "an XML document", "this is often a storage server's error message: look at its text"
    if text.startswith((b"{", b"[")):
        return "a JSON document", "this is often a server's error message: look at its text"
    if head[257:262] == b"ustar":
        return "an uncompressed tar", "compress it with gzip, or make the archive with torch-model-archiver"
    if head.startswith(b"\x80"):
        return "a pickle, such as an old PyTorch checkpoint", "package it with torch-model-archiver --serialized-file"
    return "something else", "make the archive with torch-model-archiver"
