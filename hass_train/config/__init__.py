"""The typed schema of `conf/`, and the checks that a configuration goes through."""
