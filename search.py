"""Search where a network should be sparse for a device: `python search.py model=mobilenetv3 hw=u250`."""

from omegaconf import DictConfig

from hass_train import cli


def main(config: DictConfig) -> float:
    from hass_train import pipeline  # torch loads only once the configuration is composed

    result, _ = pipeline.search(config)
    return result.sparse.test_acc


if __name__ == "__main__":
    cli.run("search", main)
