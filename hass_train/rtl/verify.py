"""Play the hardware modules against their references: `python -m hass_train.rtl.verify [MODULE …]`."""
