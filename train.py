"""Train (or, with init_from=, fine-tune) a network without searching: `python train.py model=resnet18`."""

from omegaconf import DictConfig

from hass_train import cli


def main(config: DictConfig) -> float:
    from hass_train import pipeline  # torch loads only once the configuration is composed

    result, _ = pipeline.train(config)
    return result["test_acc"]


if __name__ == "__main__":
    cli.run("train", main)
