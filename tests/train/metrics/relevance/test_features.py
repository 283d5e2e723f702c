"""Words, neighbours, and which of them count."""

from train.metrics.relevance.features import Features, copied_share, features_of


def test_features_are_words_and_neighbours_with_the_ends():
    assert features_of(["a", "b"]) == ["a", "b", "<s> a", "a b", "b </s>"]
    assert features_of([]) == ["<s> </s>"]


def test_very_long_texts_are_cut():
    assert features_of(["w"] * 1000) == features_of(["w"] * 60)


def test_a_feature_must_be_in_enough_texts_however_often_in_one():
    texts = [["a", "a", "a"], ["b"], ["b", "c"]]
    found = Features.fit(texts, least_words=2, least_pairs=2)
    assert set(found.names) == {"b", "<s> b"}
    assert dict(zip(found.names, found.is_word(), strict=True)) == {"b": True, "<s> b": False}


def test_bags_leave_out_what_is_unknown():
    features = Features(["b", "a", "a b"])
    bags = features.bags([["a", "b", "z"], ["z"]])
    assert bags.ids.tolist() == [1, 0, 2]
    assert bags.lengths.tolist() == [3, 0]


def test_copied_share_is_of_the_reply_not_of_the_post():
    post = ["where", "is", "it", "?"]
    assert copied_share(post, post) == 1
    assert copied_share(post, ["is", "it", "?"]) == 6 / 7  # but for its beginning
    assert copied_share(post, ["over", "there"]) == 0
    assert copied_share(post, ["?", "it", "is", "where"]) == 4 / 9
    assert copied_share(post, []) == 0
    assert copied_share([], []) == 1
