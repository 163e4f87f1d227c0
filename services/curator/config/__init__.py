"""Settings, metrics, and what all the routers of the curator share."""
