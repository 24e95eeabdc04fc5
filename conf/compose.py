"""Write params.yaml, the composition of a profile: `python -m conf.compose [profile=paper]`.

DVC composes with the same library and the same settings, so that both write the same text.
"""

import sys
from pathlib import Path

from hydra import compose, initialize_config_dir
from hydra.errors import HydraException
from omegaconf import OmegaConf

from common.errors import UserError, command

CONF = Path(__file__).resolve().parent


def composition(*overrides: str, conf: Path = CONF) -> str:
    """Compose `conf/config.yaml` with Hydra overrides and return it as YAML text.

    Raises:
        UserError: if a file or an option that is named does not exist.
    """
    try:
        with initialize_config_dir(str(conf), version_base=None):
            config = compose(config_name="config", overrides=list(overrides))
    except HydraException as error:
        raise UserError(f"{conf.name}/: {' '.join(str(error).split())}") from error
    OmegaConf.resolve(config)
    return OmegaConf.to_yaml(config)


@command
def main() -> None:
    """Write the composition with the overrides of the command line."""
    text = composition(*sys.argv[1:])
    (CONF.parent / "params.yaml").write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
