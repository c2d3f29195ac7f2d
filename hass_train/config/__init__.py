"""The typed schema of `conf/`, and the checks of a configuration."""
