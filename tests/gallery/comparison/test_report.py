"""The table of fits: which gradient it has, and the perplexity of words."""

from gallery.comparison.report import progress_line, tables


def result_of(noise, **more):
    fit = {"name": "trace", "guide": "own", "label": "trace", "seed": 0, "status": "finished", "at": "trace"}
    row = fit | {"elbo": {"value": -3.0, "mc_se": 0.1}, "noise": noise} | more
    about = {"judge_draws": 8, "n": 5, "split": "test", "data": "topics", "seeds": 1}
    return {"rows": [row | {"asked": fit}], "refused": {}} | about


def test_the_gradient_is_that_of_the_guide_or_of_the_model_where_the_guide_has_no_parameters():
    of = {part: {"variance": value, "snr": 10 * value} for part, value in (("guide", 2.0), ("model", 3.0))}
    for noise, part, value in ((of, "guide", 2), ({"model": of["model"]}, "model", 3)):
        (table,) = tables(result_of(noise))
        shown = {column.header: next(column.cells) for column in table.columns}
        assert shown[f"{part}'s gradient: variance"] == f"{value}"
        assert shown["SNR"] == f"{10 * value}"
        assert f"SNR {10 * value}" in progress_line(result_of(noise)["rows"][0])


def test_large_numbers_have_no_exponent():
    (table,) = tables(result_of({}, passes=1_603_000, gradients=800, seconds=2.48, gap={"value": 7.36e-06}))
    shown = {column.header: next(column.cells) for column in table.columns}
    assert [shown[of] for of in ("passes", "gradients", "seconds", "gap")] == ["1,600,000", "800", "2.48", "7.36e-06"]


def test_words_have_a_perplexity_that_the_caption_explains():
    (table,) = tables(result_of({}, perplexity={"value": 19.0774}))
    shown = {column.header: next(column.cells) for column in table.columns}
    assert shown["perplexity"] == "19.08"
    assert "Perplexity: of half of the words" in table.caption.plain
    (table,) = tables(result_of({}, perplexity={"undefined": "no document has two words"}))
    assert "perplexity" not in [column.header for column in table.columns]
    assert "Perplexity" not in table.caption.plain


def test_a_reason_stands_once_with_the_rows_that_it_is_of():
    result = result_of({}, posterior={"undefined": "a reason."})
    (row,) = result["rows"]
    result["rows"] += [row | {"label": "other"}, row | {"label": "third", "posterior": {"undefined": "another."}}]
    lines = [line for line in tables(result) if isinstance(line, str)]
    assert lines == [
        "no comparison with the posterior: trace; other: a reason.",
        "no comparison with the posterior: third: another.",
    ]


def test_a_discrete_latent_has_its_total_variation_in_place_of_moments():
    known = {"n": 5, "eubo": {"value": -2.9, "exact": True}, "total_variation": 0.25}
    _, table = tables(result_of({}, posterior=known))
    shown = {column.header: next(column.cells) for column in table.columns}
    assert shown["total variation"] == "0.25"
    assert not {"MC error", "error of the mean, sd"} & shown.keys()
    assert "Total variation: of q(y | x)" in table.caption.plain
