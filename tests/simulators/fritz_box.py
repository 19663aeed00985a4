"""A FRITZ!Box: descriptions of devices and services, and SOAP with digest authentication.

Written after "UPnP Device Architecture 1.0" (descriptions, control) and AVM's "TR-064 First Steps"
(the two description files, digest authentication, the last user's name).
"""

import hashlib
import re
import ssl
from collections.abc import Mapping
from typing import Any
from xml.sax.saxutils import escape

from pollect.testing import HttpRequest, HttpResponse, HttpServer
from pollect.testing.servers import LOOPBACK

IGD, TR64 = "schemas-upnp-org", "dslforum-org"
USER, PASSWORD = "fritz1234", "secret of the box"
XML = {"Content-Type": 'text/xml; charset="utf-8"'}

#: Out arguments with data type and value, by action, by service.
Actions = dict[str, dict[str, tuple[str, Any]]]


def wlan(ssid: str, standard: str, channel: int, *, clients: int, band: str = "") -> Actions:
    """Return what a wireless network answers; newer firmware tells the band."""
    return {
        "GetInfo": {
            "NewStatus": ("string", "Up"),
            "NewChannel": ("ui1", channel),
            "NewSSID": ("string", ssid),
            "NewStandard": ("string", standard),
            "NewX_AVM-DE_FrequencyBand": ("string", band),
        },
        "GetTotalAssociations": {"NewTotalAssociations": ("ui2", clients)},
        "GetPacketStatistics": {
            "NewTotalPacketsSent": ("ui4", 100 * clients),
            "NewTotalPacketsReceived": ("ui4", 10 * clients),
        },
    }


IGD_SERVICES: dict[str, Actions] = {
    "WANCommonIFC1": {
        "GetAddonInfos": {
            "NewByteReceiveRate": ("ui4", 1000),
            "NewX_AVM_DE_TotalBytesSent64": ("string", 5_000_000_000),
            "NewX_AVM_DE_TotalBytesReceived64": ("string", 70_000_000_000),
            "NewX_AVM_DE_Layer1DownstreamMaxBitRate64": ("string", ""),
            "NewX_AVM_DE_Layer1UpstreamMaxBitRate64": ("string", ""),
        },
        "GetTotalPacketsReceived": {"NewTotalPacketsReceived": ("ui4", 2000)},
        "GetTotalPacketsSent": {"NewTotalPacketsSent": ("ui4", 1500)},
        "GetTotalBytesReceived": {"NewTotalBytesReceived": ("ui4", 4294967000)},
        "GetTotalBytesSent": {"NewTotalBytesSent": ("ui4", 1000)},
        "GetCommonLinkProperties": {
            "NewWANAccessType": ("string", "DSL"),
            "NewLayer1UpstreamMaxBitRate": ("ui4", 40_000_000),
            "NewLayer1DownstreamMaxBitRate": ("ui4", 250_000_000),
            "NewPhysicalLinkStatus": ("string", "Up"),
        },
    },
    "WANIPConn1": {
        "GetStatusInfo": {
            "NewConnectionStatus": ("string", "Connected"),
            "NewLastConnectionError": ("string", "ERROR_NONE"),
            "NewUptime": ("ui4", 86400),
        }
    },
}
TR64_SERVICES: dict[str, Actions] = {
    "WANCommonInterfaceConfig1": {
        "GetTotalBytesReceived": {"NewTotalBytesReceived": ("ui4", 4294967000)}
    },
    "LANConfigSecurity1": {
        "X_AVM-DE_GetUserList": {
            "NewX_AVM-DE_UserList": (
                "string",
                f'<List><Username last_user="0">guest</Username>'
                f'<Username last_user="1">{USER}</Username></List>',
            )
        }
    },
    "DeviceInfo1": {
        "GetInfo": {
            "NewModelName": ("string", "FRITZ!Box 7590"),
            "NewSoftwareVersion": ("string", "154.07.29"),
            "NewUpTime": ("ui4", 1_000_000),
        }
    },
    "WANDSLInterfaceConfig1": {
        "GetInfo": {
            "NewStatus": ("string", "Up"),
            "NewUpstreamCurrRate": ("ui4", 39_000),
            "NewDownstreamCurrRate": ("ui4", 240_000),
            "NewUpstreamMaxRate": ("ui4", 45_000),
            "NewDownstreamMaxRate": ("ui4", 280_000),
            "NewUpstreamNoiseMargin": ("ui4", 80),
            "NewDownstreamNoiseMargin": ("ui4", 105),
            "NewUpstreamAttenuation": ("ui4", 73),
            "NewDownstreamAttenuation": ("ui4", 140),
        },
        "X_AVM-DE_GetDSLInfo": {"NewFECErrors": ("ui4", 12), "NewCRCErrors": ("ui4", 3)},
    },
    "WLANConfiguration1": wlan("home", "n", 6, clients=4),
    "WLANConfiguration2": wlan("home", "ac", 36, clients=7),
    "LANEthernetInterfaceConfig1": {
        "GetStatistics": {
            "NewBytesSent": ("ui4", 4000),
            "NewBytesReceived": ("ui4", 3000),
            "NewPacketsSent": ("ui4", 40),
            "NewPacketsReceived": ("ui4", 30),
        }
    },
    "Hosts1": {"GetHostNumberOfEntries": {"NewHostNumberOfEntries": ("ui2", 42)}},
    "UserInterface1": {
        "GetInfo": {
            "NewUpgradeAvailable": ("boolean", 1),
            "NewX_AVM-DE_Version": ("string", "154.08.02"),
        }
    },
}


class FritzBox(HttpServer):
    """A box on a port of 127.0.0.1 while the `with` block lasts."""

    def __init__(
        self, *, tls: ssl.SSLContext | None = None, host: str = LOOPBACK, port: int = 0
    ) -> None:
        super().__init__(self._answer, tls=tls, host=host)
        self.port = port
        #: Set values here: `box.values["WANIPConn1"]["GetStatusInfo"]["NewUptime"] = ("ui4", 1)`.
        self.values: dict[str, Actions] = {
            name: {action: dict(fields) for action, fields in actions.items()}
            for name, actions in (IGD_SERVICES | TR64_SERVICES).items()
        }
        #: Actions that were called, in order, answered or not.
        self.calls: list[str] = []
        #: Logins with the wrong user or password.
        self.refused_logins = 0
        self.password = PASSWORD
        #: Actions that this user has no right to.
        self.forbidden: set[str] = set()

    def _answer(self, request: HttpRequest) -> HttpResponse:
        if request.method == "GET":
            return self._describe(request.path)
        _, _, service = request.path.rpartition("/")
        _, _, action = request.headers["SOAPAction"].strip('"').partition("#")
        self.calls.append(f"{service}/{action}")
        needs_login = request.path.startswith("/upnp/") and action != "X_AVM-DE_GetUserList"
        if needs_login and not self._is_authorized(request):
            challenge = 'Digest realm="HTTPS Access", nonce="9A683126", algorithm=MD5, qop="auth"'
            return HttpResponse(
                "<HTML><BODY><H1>401 Unauthorized</H1></BODY></HTML>",
                status=401,
                headers={"WWW-Authenticate": challenge, "Content-Type": "text/html"},
            )
        if f"{service}/{action}" in self.forbidden:
            return HttpResponse(soap_fault(606, "Action Not Authorized"), status=500, headers=XML)
        fields = self.values.get(service, {}).get(action)
        if fields is None:
            return HttpResponse(soap_fault(401, "Invalid Action"), status=500, headers=XML)
        return HttpResponse(soap_answer(service, action, fields), headers=XML)

    def _describe(self, path: str) -> HttpResponse:
        if path == "/igddesc.xml":
            return HttpResponse(describe_device(IGD, IGD_SERVICES), headers=XML)
        if path == "/tr64desc.xml":
            services = {
                name: self.values[name] for name in self.values.keys() - IGD_SERVICES.keys()
            }
            return HttpResponse(describe_device(TR64, services), headers=XML)
        name = path.removeprefix("/").removesuffix("SCPD.xml")
        if name in self.values:
            return HttpResponse(describe_service(self.values[name]), headers=XML)
        return HttpResponse("<html>404</html>", status=404, headers={"Content-Type": "text/html"})

    def _is_authorized(self, request: HttpRequest) -> bool:
        """Check digest authentication with qop `auth` (RFC 7616, section 3.4.1)."""
        header = request.headers.get("Authorization", "")
        if not header.startswith("Digest "):
            return False
        given = dict(re.findall(r'(\w+)="?([^",]+)"?', header))
        first = _md5(f"{USER}:{given['realm']}:{self.password}")
        second = _md5(f"{request.method}:{given['uri']}")
        parts = (first, given["nonce"], given["nc"], given["cnonce"], given["qop"], second)
        right: bool = (given["username"], given["response"]) == (USER, _md5(":".join(parts)))
        self.refused_logins += not right
        return right


def describe_device(family: str, services: Mapping[str, Actions]) -> str:
    """Return a device description; the one of TR-064 names the firmware."""
    folder = "igdupnp" if family == IGD else "upnp"
    system = (
        "<systemVersion><HW>226</HW><Major>154</Major><Minor>07</Minor><Patch>29</Patch>"
        "<Buildnumber>87000</Buildnumber><Display>154.07.29</Display></systemVersion>"
    )
    listed = "".join(
        f"<service><serviceType>{service_type(name)}</serviceType>"
        f"<serviceId>urn:any-com:serviceId:{name}</serviceId>"
        f"<controlURL>/{folder}/control/{name}</controlURL>"
        f"<eventSubURL>/{folder}/event/{name}</eventSubURL>"
        f"<SCPDURL>/{name}SCPD.xml</SCPDURL></service>"
        for name in services
    )
    return (
        f'<?xml version="1.0"?><root xmlns="urn:{family}:device-1-0">'
        f"<specVersion><major>1</major><minor>0</minor></specVersion>"
        f"{system if family == TR64 else ''}<device>"
        f"<deviceType>urn:{family}:device:InternetGatewayDevice:1</deviceType>"
        f"<friendlyName>FRITZ!Box 7590</friendlyName><modelName>FRITZ!Box 7590</modelName>"
        f"<UDN>uuid:75802409-bccb-40e7-8e6c-001A4F000000</UDN>"
        f"<serviceList>{listed}</serviceList></device></root>"
    )


def describe_service(actions: Actions) -> str:
    """Return a service description with its actions and their state variables."""
    listed = "".join(
        f"<action><name>{action}</name><argumentList>"
        + "".join(
            f"<argument><name>{field}</name><direction>out</direction>"
            f"<relatedStateVariable>{action}{field}</relatedStateVariable></argument>"
            for field in fields
        )
        + "</argumentList></action>"
        for action, fields in actions.items()
    )
    variables = "".join(
        f'<stateVariable sendEvents="no"><name>{action}{field}</name>'
        f"<dataType>{kind}</dataType></stateVariable>"
        for action, fields in actions.items()
        for field, (kind, _) in fields.items()
    )
    return (
        '<?xml version="1.0"?><scpd xmlns="urn:schemas-upnp-org:service-1-0">'
        "<specVersion><major>1</major><minor>0</minor></specVersion>"
        f"<actionList>{listed}</actionList><serviceStateTable>{variables}</serviceStateTable></scpd>"
    )


def service_type(name: str) -> str:
    family = IGD if name in IGD_SERVICES else TR64
    kind = {"WANCommonIFC": "WANCommonInterfaceConfig", "WANIPConn": "WANIPConnection"}
    return f"urn:{family}:service:{kind.get(name[:-1], name[:-1])}:{name[-1]}"


def soap_answer(service: str, action: str, fields: Mapping[str, tuple[str, Any]]) -> str:
    inner = "".join(f"<{name}>{escape(str(value))}</{name}>" for name, (_, value) in fields.items())
    return _envelope(
        f'<u:{action}Response xmlns:u="{service_type(service)}">{inner}</u:{action}Response>'
    )


def soap_fault(code: int, text: str) -> str:
    return _envelope(
        "<s:Fault><faultcode>s:Client</faultcode><faultstring>UPnPError</faultstring><detail>"
        f'<UPnPError xmlns="urn:dslforum-org:control-1-0"> <errorCode>{code}</errorCode>'
        f"<errorDescription>{text}</errorDescription></UPnPError></detail></s:Fault>"
    )


def _envelope(body: str) -> str:
    return (
        '<?xml version="1.0" encoding="utf-8"?>'
        '<s:Envelope xmlns:s="http://schemas.xmlsoap.org/soap/envelope/"'
        ' s:encodingStyle="http://schemas.xmlsoap.org/soap/encoding/">'
        f"<s:Body>{body}</s:Body></s:Envelope>"
    )


def _md5(text: str) -> str:
    return hashlib.md5(text.encode()).hexdigest()
