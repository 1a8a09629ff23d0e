"""Services, pods and VirtualServices become the document that the gateway routes by."""
