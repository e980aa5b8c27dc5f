"""Which samples an epoch keeps, and with which weight: one file a strategy."""

from ted_core.strategies import rankings
from ted_core.strategies.base import Request, Selection, Strategy
from ted_core.strategies.epsilon_greedy import EpsilonGreedy
from ted_core.strategies.importance import Importance
from ted_core.strategies.infobatch import InfoBatch
from ted_core.strategies.random import Random
from ted_core.strategies.soft_top import SoftTop
from ted_core.strategies.static import Static
from ted_core.strategies.top_score import TopScore
from ted_core.strategies.ucb import UCB

__all__ = [
    "UCB",
    "EpsilonGreedy",
    "Importance",
    "InfoBatch",
    "Random",
    "Request",
    "Selection",
    "SoftTop",
    "Static",
    "Strategy",
    "TopScore",
    "rankings",
]
