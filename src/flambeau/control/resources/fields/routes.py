"""VirtualService's fields: matches, rewrites, destinations, faults, retries, headers. Pure.

What Istio's newer versions added is known, too.
"""

from __future__ import annotations

from flambeau.control.resources.fields.words import (
    BOOLEAN,
    DOUBLE,
    INT32,
    INTEGER,
    STRING,
    STRING_MAP,
    Schema,
    an_object,
    at_most_one,
    explained,
    fields,
    list_of,
    map_of,
    one_of,
    or_null,
)

_LIST = list_of(STRING)
_PERCENTAGE = an_object({"value": DOUBLE})

# -- matches --

_TEXT_WAYS = fields("exact", "prefix", "regex", of=STRING)
_TEXT = {**an_object(_TEXT_WAYS), **at_most_one(_TEXT_WAYS)}
_CALLER_FIELDS: dict[str, Schema] = {"sourceLabels": STRING_MAP, "sourceNamespace": STRING, "gateways": _LIST, "port": INTEGER}

_MATCH = an_object(
    {
        "name": STRING,
        "uri": explained(_TEXT, "The path, without the query."),
        "ignoreUriCase": BOOLEAN,
        **fields("scheme", "method", "authority", of=_TEXT),
        "headers": explained(map_of(_TEXT), "Headers by name in lower case; {} asks only that there is one."),
        "withoutHeaders": map_of(_TEXT),
        "queryParams": map_of(_TEXT),
        "statPrefix": STRING,
        **_CALLER_FIELDS,
    }
)

# -- where a request goes --

_DESTINATION = an_object(
    {
        "host": explained(STRING, "A service's name, such as NAME.NAMESPACE.svc.cluster.local."),
        "subset": STRING,
        "port": an_object({"number": INTEGER}),
    }
)
_HEADER_CHANGES = an_object({**fields("set", "add", of=STRING_MAP), "remove": _LIST})
_HEADERS = an_object(fields("request", "response", of=_HEADER_CHANGES))
_ROUTE = an_object(
    {
        "destination": explained(_DESTINATION, "Where the requests go."),
        "weight": explained(INT32, "Its share among the destinations of this rule."),
        "headers": _HEADERS,
    }
)
_MIRROR = an_object({"destination": _DESTINATION, "percentage": _PERCENTAGE}, ("destination",))

_REWRITE = an_object(
    {
        "uri": explained(STRING, "What takes the place of the path, or of the prefix that matched."),
        "authority": explained(STRING, "What takes the place of the host."),
        "uriRegexRewrite": an_object(fields("match", "rewrite", of=STRING)),
    }
)
_REDIRECT_PORTS = {"port": INTEGER, "derivePort": one_of("FROM_PROTOCOL_DEFAULT", "FROM_REQUEST_PORT")}
_REDIRECT = {
    **an_object({**fields("uri", "authority", "scheme", of=STRING), "redirectCode": INTEGER, **_REDIRECT_PORTS}),
    **at_most_one(_REDIRECT_PORTS),
}
_BODY_WAYS: dict[str, Schema] = {"string": STRING, "bytes": STRING}
_DIRECT_RESPONSE = an_object({"status": INTEGER, "body": {**an_object(_BODY_WAYS), **at_most_one(_BODY_WAYS)}}, ("status",))

# -- faults, retries, CORS --

_DELAY_WAYS = fields("fixedDelay", "exponentialDelay", of=STRING)
_DELAY = {**an_object({**_DELAY_WAYS, "percent": INT32, "percentage": _PERCENTAGE}), **at_most_one(_DELAY_WAYS)}
_ABORT_WAYS: dict[str, Schema] = {"httpStatus": INT32, "grpcStatus": STRING, "http2Error": STRING}
_ABORT = {**an_object({**_ABORT_WAYS, "percentage": _PERCENTAGE}), **at_most_one(_ABORT_WAYS)}

_RETRIES = an_object(
    {
        "attempts": INT32,
        **fields("perTryTimeout", "retryOn", "backoff", of=STRING),
        **fields("retryRemoteLocalities", "retryIgnorePreviousHosts", of=or_null(BOOLEAN)),
    }
)
_CORS = an_object(
    {
        "allowOrigins": list_of(_TEXT),
        **fields("allowOrigin", "allowMethods", "allowHeaders", "exposeHeaders", of=_LIST),
        "allowCredentials": or_null(BOOLEAN),
        "maxAge": STRING,
        "unmatchedPreflights": one_of("UNSPECIFIED", "FORWARD", "IGNORE"),
    }
)

_HTTP_RULE = an_object(
    {
        "name": STRING,
        "match": explained(list_of(_MATCH), "Any of these takes the request; none listed: everything does."),
        "route": explained(list_of(_ROUTE), "Where the requests go, shared by weight."),
        "rewrite": explained(_REWRITE, "What is changed before the request is passed on."),
        "timeout": explained(STRING, "The longest wait for a response, such as 30s."),
        "redirect": _REDIRECT,
        "directResponse": _DIRECT_RESPONSE,
        "delegate": an_object(fields("name", "namespace", of=STRING)),
        "fault": an_object({"delay": _DELAY, "abort": _ABORT}),
        "retries": _RETRIES,
        "corsPolicy": _CORS,
        "headers": _HEADERS,
        "mirror": _DESTINATION,
        **fields("mirrorPercent", "mirror_percent", of=or_null(INTEGER)),
        "mirrorPercentage": _PERCENTAGE,
        "mirrors": list_of(_MIRROR),
    }
)

# -- other protocols --

_STREAM_ROUTES = list_of(an_object({"destination": _DESTINATION, "weight": INT32}))
_TLS_MATCH = an_object({**fields("sniHosts", "destinationSubnets", of=_LIST), **_CALLER_FIELDS})
_TCP_MATCH = an_object({"destinationSubnets": _LIST, "sourceSubnet": STRING, **_CALLER_FIELDS})

VIRTUAL_SERVICE_SPEC = explained(
    an_object(
        {
            "hosts": explained(_LIST, "Host names as clients send them: exact, *.suffix or *."),
            "gateways": explained(
                _LIST,
                "Where the routes apply; without knative-serving/knative-ingress-gateway or another gateway, "
                "requests from outside never see them.",
            ),
            "http": explained(list_of(_HTTP_RULE), "The rules."),
            "tls": list_of(an_object({"match": list_of(_TLS_MATCH), "route": _STREAM_ROUTES})),
            "tcp": list_of(an_object({"match": list_of(_TCP_MATCH), "route": _STREAM_ROUTES})),
            "exportTo": _LIST,
        }
    ),
    "Routes for hosts, looked at in order: the first rule with a match takes the request.",
)
