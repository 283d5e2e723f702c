"""Calibrated and measured on what was held out."""

import random

import torch

from dialog_service.diversity import metric_tokens
from train.metrics.relevance.encoder import DualEncoder
from train.metrics.relevance.features import Features
from train.metrics.relevance.learning import measured
from train.metrics.relevance.matcher import Matcher

DRAW = random.Random(0)
WORDS = [f"w{number}" for number in range(60)]


def text(first: str) -> list[str]:
    return metric_tokens(" ".join([first, *DRAW.choices(WORDS, k=6)]))


def test_an_encoder_that_loves_an_echo_is_put_right():
    """Both towers alike: nothing is nearer to a post than the post."""
    topics = [DRAW.choice(WORDS) for _ in range(300)]
    posts, replies = [text(topic) for topic in topics], [text(topic) for topic in topics]
    features = Features.fit([*posts, *replies], least_words=1, least_pairs=1000)
    torch.manual_seed(0)
    encoder = DualEncoder(len(features), 32, 0.0).eval()
    encoder.replies.load_state_dict(encoder.posts.state_dict())
    calibration, quality = measured(Matcher(features, encoder), posts, replies, seed=0)
    assert calibration.copying < -1
    assert quality.relevance_of_echo < 0.1
    assert quality.relevance > 0.5 > quality.relevance_of_random
    assert quality.mean_rank < 50
