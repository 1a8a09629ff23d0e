"""HTTPRoute's fields (Gateway API): hostnames, matches, filters, backends, timeouts. Pure."""

from __future__ import annotations

from flambeau.control.resources.fields.words import (
    BOOLEAN,
    INT32,
    STRING,
    Schema,
    an_object,
    explained,
    fields,
    list_of,
    one_of,
    or_else,
    whole_list_of,
)

_LIST = whole_list_of(STRING)
_PARENT = an_object(
    {
        "group": or_else(STRING, "gateway.networking.k8s.io"),
        "kind": or_else(STRING, "Gateway"),
        **fields("namespace", "name", "sectionName", of=STRING),
        "port": INT32,
    },
    ("name",),
)

# -- matches --

_NAMED = an_object(
    {"type": or_else(one_of("Exact", "RegularExpression"), "Exact"), **fields("name", "value", of=STRING)},
    ("name", "value"),
)
_MATCH = an_object(
    {
        "path": or_else(
            an_object(
                {
                    "type": or_else(one_of("Exact", "PathPrefix", "RegularExpression"), "PathPrefix"),
                    "value": or_else(STRING, "/"),
                }
            ),
            {"type": "PathPrefix", "value": "/"},
        ),
        **fields("headers", "queryParams", of=list_of(_NAMED, keys=("name",))),
        "method": one_of("GET", "HEAD", "POST", "PUT", "DELETE", "CONNECT", "OPTIONS", "TRACE", "PATCH"),
    }
)
_EVERYTHING = [{"path": {"type": "PathPrefix", "value": "/"}}]

# -- filters --

_HEADER = an_object(fields("name", "value", of=STRING), ("name", "value"))
_HEADER_CHANGES = an_object({**fields("set", "add", of=list_of(_HEADER, keys=("name",))), "remove": _LIST})
_BACKEND: dict[str, Schema] = {
    "group": or_else(STRING, ""),
    "kind": or_else(STRING, "Service"),
    **fields("name", "namespace", of=STRING),
    "port": INT32,
}
_PATH_CHANGE = an_object(
    {"type": one_of("ReplaceFullPath", "ReplacePrefixMatch"), **fields("replaceFullPath", "replacePrefixMatch", of=STRING)}, ("type",)
)
_MIRROR = an_object(
    {
        "backendRef": an_object(_BACKEND, ("name",)),
        "percent": INT32,
        "fraction": an_object({"numerator": INT32, "denominator": or_else(INT32, 100)}, ("numerator",)),
    },
    ("backendRef",),
)
_REDIRECT = an_object(
    {
        "scheme": one_of("http", "https"),
        "hostname": STRING,
        "path": _PATH_CHANGE,
        "port": INT32,
        "statusCode": or_else({**INT32, "enum": [301, 302, 303, 307, 308]}, 302),
    }
)
_CORS = an_object(
    {
        "allowCredentials": BOOLEAN,
        **fields("allowOrigins", "allowMethods", "allowHeaders", "exposeHeaders", of={**list_of(STRING), "x-kubernetes-list-type": "set"}),
        "maxAge": or_else(INT32, 5),
    }
)
_KINDS = ("RequestHeaderModifier", "ResponseHeaderModifier", "RequestMirror", "RequestRedirect", "URLRewrite", "ExtensionRef", "CORS")
_FILTER = an_object(
    {
        "type": one_of(*_KINDS),
        **fields("requestHeaderModifier", "responseHeaderModifier", of=_HEADER_CHANGES),
        "requestMirror": _MIRROR,
        "requestRedirect": _REDIRECT,
        "urlRewrite": an_object({"hostname": STRING, "path": _PATH_CHANGE}),
        "extensionRef": an_object(fields("group", "kind", "name", of=STRING), ("group", "kind", "name")),
        "cors": _CORS,
    },
    ("type",),
)

_RULE = an_object(
    {
        "name": STRING,
        "matches": or_else(whole_list_of(explained(_MATCH, "Any of these takes the request.")), _EVERYTHING),
        "filters": explained(whole_list_of(_FILTER), "What is done to requests and responses."),
        "backendRefs": explained(
            whole_list_of(an_object({**_BACKEND, "weight": or_else(INT32, 1), "filters": whole_list_of(_FILTER)}, ("name",))),
            "Where the requests go, shared by weight.",
        ),
        "timeouts": an_object(fields("request", "backendRequest", of=STRING)),
    }
)

HTTP_ROUTE_SPEC = an_object(
    {
        "parentRefs": explained(whole_list_of(_PARENT), "The Gateways that the route belongs to."),
        "hostnames": explained(_LIST, "Host names as clients send them: exact or *.suffix; none: every host."),
        "rules": or_else(whole_list_of(_RULE), [{"matches": _EVERYTHING}]),
    }
)
