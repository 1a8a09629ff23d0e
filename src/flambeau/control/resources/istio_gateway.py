"""Gateway (Istio): which hosts a gateway takes; here it names the one gateway there is."""

from __future__ import annotations

from flambeau.control.resources.age import AGE_COLUMN
from flambeau.control.resources.fields.words import ANYTHING, BOOLEAN, INT32, STRING, an_object, fields, list_of, map_of
from flambeau.control.resources.kind import Kind, Object, Review
from flambeau.control.resources.lookup import mappings_at
from flambeau.control.resources.object_schema import object_schema

_PORT = an_object({**fields("protocol", "name", of=STRING), **fields("number", "targetPort", of=INT32)}, ("number", "protocol", "name"))
_TLS = an_object(
    {
        **fields("mode", "credentialName", "serverCertificate", "privateKey", "caCertificates", "caCrl", of=STRING),
        **fields("caCertCredentialName", "minProtocolVersion", "maxProtocolVersion", of=STRING),
        **fields("subjectAltNames", "cipherSuites", "verifyCertificateHash", "verifyCertificateSpki", of=list_of(STRING)),
        "credentialNames": list_of(STRING),
        "httpsRedirect": BOOLEAN,
        "tlsCertificates": list_of(ANYTHING),
    }
)
_SERVER = an_object(
    {"port": _PORT, "hosts": list_of(STRING), "tls": _TLS, **fields("bind", "name", "defaultEndpoint", of=STRING)}, ("port", "hosts")
)
_SCHEMA = {"spec": an_object({"selector": map_of(STRING), "servers": list_of(_SERVER)}), "status": ANYTHING}


def _check(obj: Object, _: Object | None) -> Review:
    warnings = ["spec: there is one gateway here, on its own address: ports, selector and tls of this object have no effect"]
    if not mappings_at(obj, "spec", "servers"):
        warnings.append("spec.servers: none are listed: no host is taken through this Gateway")
    return Review((), tuple(warnings))


ISTIO_GATEWAY = Kind(
    group="networking.istio.io",
    versions=("v1", "v1beta1", "v1alpha3"),
    kind="Gateway",
    plural="gateways",
    singular="gateway",
    short_names=("gw",),
    categories=("istio-io", "networking-istio-io"),
    columns=(AGE_COLUMN,),
    schema=object_schema(_SCHEMA),
    check=_check,
)
