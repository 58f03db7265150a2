"""What a run of `mmeb` survives: interruption, missing and damaged images, other spellings, other meta-tasks."""

import json
import shutil

import numpy as np
import pytest

from ssa_me.archives import unpack
from ssa_me.errors import InputError
from ssa_me.evaluation import mmeb_hub
from ssa_me.evaluation.encode import BATCH
from ssa_me.evaluation.mmeb import run_mmeb
from ssa_me.evaluation.mmeb_data import image_root, read_subsets
from ssa_me.evaluation.models import parse_models
from ssa_me.evaluation.published import PUBLISHED, published_beside
from ssa_me.mmeb_subsets import SUBSETS, canonical, read_infos

BOTH = parse_models("both")


def write_subset(root, name, rows):
    (root / f"{name}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")


def t2i(text, *images):
    return {"qry_text": text, "tgt_text": [""] * len(images), "tgt_img_path": list(images)}


@pytest.fixture
def data(tmp_path, paint):
    """Forty texts that all ask for red, before red and green."""
    folder = tmp_path / "data"
    for colour in ("red", "green"):
        paint(folder / f"{colour}.png", colour)
    write_subset(folder, "many", [t2i(f"red {i}", "red.png", "green.png") for i in range(40)])
    return folder


def test_a_run_that_was_stopped_goes_on_with_the_batch_that_it_was_at(data, embedder, tmp_path, monkeypatch):
    whole = run_mmeb(data, embedder, BOTH)
    embedder.embedded.clear()
    embed = embedder.embed

    def stopped_at_the_second(samples, **options):
        if embedder.embedded:
            raise KeyboardInterrupt
        return embed(samples, **options)

    monkeypatch.setattr(embedder, "embed", stopped_at_the_second)
    with pytest.raises(KeyboardInterrupt):
        run_mmeb(data, embedder, BOTH, cache=tmp_path / "cache")
    assert len(embedder.embedded) == BATCH
    monkeypatch.setattr(embedder, "embed", embed)
    assert run_mmeb(data, embedder, BOTH, cache=tmp_path / "cache") == whole
    assert len(embedder.embedded) == 42
    assert run_mmeb(data, embedder, BOTH, cache=tmp_path / "cache") == whole
    assert len(embedder.embedded) == 42  # nothing was embedded again


def test_the_cache_knows_content_and_version(data, embedder, tmp_path, paint):
    run_mmeb(data, embedder, BOTH, cache=tmp_path / "cache")
    embedder.embedded.clear()
    paint(data / "red.png", "blue")
    answer = run_mmeb(data, embedder, BOTH, cache=tmp_path / "cache")
    assert len(embedder.embedded) == 1
    assert answer["models"]["ssa-me"]["overall"] == 0.0
    embedder.info.fingerprints = {"baseline": "b1", "ssa-me": "s2"}
    run_mmeb(data, embedder, BOTH, cache=tmp_path / "cache")
    assert len(embedder.embedded) == 1 + 42


def test_reranked_scores_and_subjects_are_kept_too(data, embedder, tmp_path):
    models = parse_models("ssa-me,ssa-me+subjects,ssa-me+rerank")
    first = run_mmeb(data, embedder, models, cache=tmp_path / "cache")
    embedder.embedded.clear()
    assert run_mmeb(data, embedder, models, cache=tmp_path / "cache") == first
    assert embedder.embedded == []


def test_queries_of_missing_and_damaged_images_count_as_missed_and_are_named(data, embedder, tmp_path):
    (data / "broken.png").write_bytes(b"no image")
    rows = [t2i("red", "red.png", name) for name in ("green.png", "gone.png", "broken.png")]
    write_subset(data, "many", rows)
    for cache in (None, tmp_path / "cache"):
        answer = run_mmeb(data, embedder, parse_models("ssa-me,ssa-me+subjects"), cache=cache)
        assert answer["missing_images"] == {"many": {"images": ["broken.png", "gone.png"], "queries": 2}}
        for model in answer["models"].values():
            assert model["overall"] == pytest.approx(1 / 3)
            assert model["subsets"]["many"]["ties"] == 0
        json.dumps(answer, allow_nan=False)
    with pytest.raises(InputError, match=r"1 of 4 images are missing.*gone\.png"):
        run_mmeb(data, embedder, BOTH, strict=True)
    write_subset(data, "many", [t2i("red", "red.png", "broken.png")])
    with pytest.raises(InputError, match=r"broken\.png.*--strict"):
        run_mmeb(data, embedder, BOTH, strict=True)
    write_subset(data, "many", [t2i("red", "lost.png", "gone.png")])
    with pytest.raises(InputError, match="2 of 2 images are missing"):
        run_mmeb(data, embedder, BOTH)


def test_names_are_read_in_any_spelling(data):
    assert canonical("ImageNet_1K") == canonical("imagenet-1k") == "ImageNet-1K"
    assert canonical("MSCOCO_t2i") == "MSCOCO_t2i"
    assert canonical("binding_colour") == "binding_colour"
    assert len({canonical(name) for name in SUBSETS}) == 36
    shutil.move(data / "many.jsonl", data / "ImageNet_1K.jsonl")
    (subset,) = read_subsets(data, ["ImageNet_1K", "ImageNet-1K"])
    assert (subset.name, subset.info) == ("ImageNet-1K", SUBSETS["ImageNet-1K"])


def test_other_data_says_its_meta_tasks(data, embedder):
    infos = {"many": {"meta_task": "Retrieval", "in_distribution": None}}
    (data / "subsets.json").write_text(json.dumps(infos), encoding="utf-8")
    ours = run_mmeb(data, embedder, BOTH)["models"]["ssa-me"]
    assert ours["meta_tasks"] == {"Retrieval": 1.0}
    assert "ind" not in ours
    for bad in ('{"many": {"in_distribution": 3}}', '{"many": {"meta_task": 1}}', "[1]", "{"):
        (data / "subsets.json").write_text(bad, encoding="utf-8")
        with pytest.raises(InputError, match=r"subsets\.json"):
            read_infos(data)


def test_target_instructions_stand_in_where_a_candidate_has_no_text(data):
    shutil.move(data / "many.jsonl", data / "NIGHTS.jsonl")
    (subset,) = read_subsets(data)
    assert {entry.text for entry in subset.queries[0].candidates} == {"Represent the given image."}
    assert subset.queries[0].is_text_to_image


def test_published_scores_stand_beside_mmebs_own_subsets_only(data, embedder):
    assert "published" not in run_mmeb(data, embedder, BOTH)
    shutil.move(data / "many.jsonl", data / "EDIS.jsonl")
    rows = run_mmeb(data, embedder, BOTH)["published"]
    assert len(rows) == len(PUBLISHED) == 12
    assert rows[0]["meta_tasks"]["Retrieval"] == 0.53
    assert rows[1]["ind"] is None
    assert published_beside(["binding_colour"]) == []
    # The table is copied right: a mean over 36 is that of the meta-tasks by their sizes, as far as rounding goes.
    for p in PUBLISHED:
        mean = (10 * p.classification + 10 * p.vqa + 12 * p.retrieval + 4 * p.grounding) / 36
        assert mean == pytest.approx(p.overall, abs=0.8), p.model
        if p.ind is not None and p.ood is not None:
            assert (20 * p.ind + 16 * p.ood) / 36 == pytest.approx(p.overall, abs=0.8), p.model


def test_the_hubs_layout_is_read_and_images_are_found_where_the_zip_puts_them(tmp_path, paint):
    paint(tmp_path / "images" / "MMEB" / "GQA" / "1.png", "red")
    assert image_root(tmp_path, ["GQA/1.png"]) == tmp_path / "images" / "MMEB"
    assert image_root(tmp_path, ["GQA/2.png"]) == tmp_path
    assert image_root(tmp_path, ["images/MMEB/GQA/1.png"]) == tmp_path


def test_fetching_from_the_hub(tmp_path, paint, monkeypatch):
    paint(tmp_path / "source" / "GQA" / "1.png", "red")
    archive = shutil.make_archive(str(tmp_path / "images"), "zip", tmp_path / "source")
    asked = []

    def download(folder, file):
        asked.append(file)
        target = folder / file
        target.parent.mkdir(parents=True, exist_ok=True)
        if file == "images.zip":
            shutil.copy(archive, target)
        else:
            target.write_bytes(b"PAR1")
        return target

    monkeypatch.setattr(mmeb_hub, "download", download)
    monkeypatch.setattr(mmeb_hub, "find_spec", lambda name: object())
    folder = mmeb_hub.fetch(tmp_path / "hub", ["GQA", "ImageNet_1K"])
    assert asked == [
        "GQA/test-00000-of-00001.parquet",
        "ImageNet-1K/test-00000-of-00001.parquet",
        "images.zip",
    ]
    assert (folder / "images" / "GQA" / "1.png").is_file()
    mmeb_hub.fetch(tmp_path / "hub", ["GQA"])
    assert len(asked) == 3  # nothing twice
    monkeypatch.setattr(mmeb_hub, "find_spec", lambda name: None)
    with pytest.raises(InputError, match="pip install pyarrow"):
        mmeb_hub.fetch(tmp_path / "hub")


def test_the_images_are_unpacked_under_limits(tmp_path, monkeypatch):
    assert mmeb_hub.LIMITS.ratio == 200
    noise = np.random.default_rng(0).bytes(100)
    (tmp_path / "source").mkdir()
    (tmp_path / "source" / "a.png").write_bytes(noise)
    archive = shutil.make_archive(str(tmp_path / "images"), "zip", tmp_path / "source")
    report = unpack(tmp_path / archive, tmp_path / "out", mmeb_hub.LIMITS)
    assert report.files == ("a.png",)
