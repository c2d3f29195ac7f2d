"""The search engines, as `search.engine._target_` names them."""

from hass_train.search.engine import Choice, SearchEngine
from hass_train.search.engines.greedy import Greedy
from hass_train.search.engines.incremental import Incremental
from hass_train.search.engines.learned import Learned
from hass_train.search.engines.one_shot import OneShot
from hass_train.search.engines.sampled import NSGA2, TPE
from hass_train.search.engines.uniform import Uniform

__all__ = ["NSGA2", "TPE", "Choice", "Greedy", "Incremental", "Learned", "OneShot", "SearchEngine", "Uniform"]
