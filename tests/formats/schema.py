"""The schema that descriptions of virtual machines must satisfy."""

from lxml import etree

from tests import data

DATA = data.DATA / "ovf"


def schema() -> etree.XMLSchema:
    """DMTF's schema of OVF 1.0 (DSP8023); its imports name no place, so each is told where the file lies."""
    main = etree.parse(DATA / "DSP8023.xsd")
    places = {
        "http://www.w3.org/XML/1998/namespace": "xml.xsd",
        "http://schemas.dmtf.org/wbem/wscim/1/common": "common.xsd",
        "http://schemas.dmtf.org/wbem/wscim/1/cim-schema/2/CIM_VirtualSystemSettingData": (
            "CIM_VirtualSystemSettingData.xsd"
        ),
        "http://schemas.dmtf.org/wbem/wscim/1/cim-schema/2/CIM_ResourceAllocationSettingData": (
            "CIM_ResourceAllocationSettingData.xsd"
        ),
    }
    for element in main.getroot().iter("{http://www.w3.org/2001/XMLSchema}import"):
        element.set("schemaLocation", str(DATA / places[str(element.get("namespace"))]))
    return etree.XMLSchema(main)
