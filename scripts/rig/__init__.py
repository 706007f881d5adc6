"""The rig: real programs around the gateway, on loopback, for `scripts/demo`, `scripts/load` and `scripts/interop`."""
