"""Addresses of pods."""

from __future__ import annotations

import ipaddress
import socket
from pathlib import Path

from flambeau.control.agent.addresses import Addresses


def test_each_pod_gets_a_loopback_address_of_its_own(tmp_path: Path) -> None:
    addresses = Addresses(tmp_path)
    taken = [addresses.take((8080,)) for _ in range(300)]
    assert len(set(taken)) == 300
    assert all(ipaddress.ip_address(each) in ipaddress.ip_network("127.0.0.0/8") for each in taken)
    assert not any(each.startswith("127.0.") for each in taken)


def test_two_homes_begin_at_different_places(tmp_path: Path) -> None:
    assert Addresses(tmp_path / "a").take(()) != Addresses(tmp_path / "b").take(())


def test_an_address_with_a_taken_port_is_passed_over(tmp_path: Path) -> None:
    first = Addresses(tmp_path).take(())
    with socket.create_server((first, 0)) as server:
        assert Addresses(tmp_path).take((server.getsockname()[1],)) != first


def test_a_reserved_address_is_not_handed_out(tmp_path: Path) -> None:
    first = Addresses(tmp_path).take(())
    addresses = Addresses(tmp_path)
    addresses.reserve(first)
    assert addresses.take(()) != first
