"""The facade: both versions from one call, independent of the batch, of other threads and of what came before."""

from __future__ import annotations

import shutil
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from ssa_me.adapters import Adapters
from ssa_me.backbone import Backbone
from ssa_me.checkpoint import BASELINE, SSA_ME, VERSIONS, Settings, fingerprints
from ssa_me.composition import SubjectComposition
from ssa_me.embedder import Embedded, SalientEmbedder
from ssa_me.errors import InputError
from ssa_me.salience.experts import OpenCVExpert
from ssa_me.samples import Sample

FAMILIES = ("qwen2_vl", "qwen2_5_vl", "qwen3_vl")
CPU = torch.device("cpu")
TOLD = "a red bird left of a blue circle in the house"
"""A text with two phrases, a relation between them, and a setting."""


@pytest.fixture(scope="module")
def embedder_of(checkpoint_of, trained_checkpoint):
    """By name: a bare family, or "trained"."""
    loaded: dict[str, SalientEmbedder] = {}

    def of(name: str) -> SalientEmbedder:
        if name not in loaded:
            folder = trained_checkpoint if name == "trained" else checkpoint_of(name)
            loaded[name] = SalientEmbedder.load(folder, "cpu")
        return loaded[name]

    return of


@pytest.fixture(scope="module")
def trained(embedder_of) -> SalientEmbedder:
    return embedder_of("trained")


@pytest.fixture(scope="module")
def discs() -> Image.Image:
    """A red and a blue disc on grey, 96 × 48."""
    pixels = np.full((48, 96, 3), 128, dtype=np.uint8)
    y, x = np.mgrid[:48, :96]
    for centre, colour in ((24, (210, 30, 40)), (72, (40, 60, 210))):
        pixels[(x - centre) ** 2 + (y - 24) ** 2 <= 14**2] = colour
    return Image.fromarray(pixels)


@pytest.fixture
def samples(picture, discs) -> list[Sample]:
    return [
        Sample("a red bird"),
        Sample(image=picture(64, 64, 1)),
        Sample("a tree on the left of the house", picture(40, 90, 2)),
        Sample(image=discs),
        Sample("tree"),
        Sample("blue", discs),
        Sample(image=Image.new("RGB", (30, 30), (90, 90, 90))),  # nothing stands out: it has no subject
        Sample(" ", picture(96, 33, 3)),
        Sample(TOLD),
    ]


def joined(parts: list[Embedded]) -> Embedded:
    return Embedded(
        {v: np.concatenate([part.vectors[v] for part in parts]) for v in VERSIONS},
        tuple(of_image for part in parts for of_image in part.regions),
        {v: tuple(rows for part in parts for rows in part.subject_vectors[v]) for v in VERSIONS},
    )


def assert_close(got: Embedded, wanted: Embedded, tolerance: float) -> None:
    for v in VERSIONS:
        np.testing.assert_allclose(got.vectors[v], wanted.vectors[v], atol=tolerance, rtol=0)
        for mine, other in zip(got.subject_vectors[v], wanted.subject_vectors[v], strict=True):
            np.testing.assert_allclose(mine, other, atol=tolerance, rtol=0)
    for mine, other in zip(got.regions, wanted.regions, strict=True):
        assert [r.bbox for r in mine] == [r.bbox for r in other]
        np.testing.assert_allclose([r.salience for r in mine], [r.salience for r in other], atol=tolerance)


# --- embedding -------------------------------------------------------------------------------------------------------


@torch.inference_mode()
@pytest.mark.parametrize("text", ["the bird", "the place", "a bird and a dog"])
def test_an_image_with_a_text_is_composed_as_what_answers_it(text, embedder_of, samples, monkeypatch):
    """With the subject that is asked for, where one is: found, here, in the first two tokens. Blank texts, too, leave an image
    alone; the baseline has nothing composed into it."""
    embedder = embedder_of("trained")

    def found_first(visual, phrases):
        salience = torch.zeros(visual.valid.shape)
        salience[[row for row, phrase in enumerate(phrases) if phrase], :2] = 0.9
        return salience

    monkeypatch.setattr(embedder._passes, "head_salience", found_first)
    image = next(sample.image for sample in samples if sample.image is not None)
    joint, blank, alone = (embedder.embed([Sample(told, image)]).vectors for told in (text, " ", None))
    for version in VERSIONS:
        np.testing.assert_allclose(blank[version], alone[version], atol=1e-6)
    passes = embedder._passes
    composition = passes.parts.composition
    visual = passes.backbone.vision_pass([image])
    found = passes.salience(visual, [image], [None])
    outputs = passes.read([text], visual, found)
    read = {v: output.embedding() for v, output in outputs.items()}
    np.testing.assert_allclose(joint[BASELINE], read[BASELINE].numpy(), atol=1e-5)
    sought = passes.salience(visual, [image], [text])
    top = torch.from_numpy(sought.regions[0][0].weights)[None, None]
    shown = composition.regions(outputs[SSA_ME].hidden, visual.tokens, visual.valid, top)[:, 0]
    one = torch.tensor([text == "the bird"])
    composed = composition.compose_answer(read[SSA_ME], composition.subject_codes(shown), one)
    np.testing.assert_allclose(joint[SSA_ME], composed.numpy(), atol=1e-5)
    assert float((composed - read[SSA_ME]).norm()) > 1e-3
    other = composition.compose_answer(read[SSA_ME], composition.subject_codes(shown), ~one)
    assert float((composed - other).norm()) > 1e-3


@pytest.mark.parametrize(
    ("name", "conditioned_on"),
    [
        ("trained", None),
        ("trained", "a red bird"),
        *((family, None) for family in FAMILIES),
        ("qwen3_vl", "a red bird"),
    ],
)
def test_a_sample_does_not_depend_on_its_batch(name, conditioned_on, embedder_of, samples):
    embedder = embedder_of(name)
    options = {"subjects": True, "conditioned_on": conditioned_on}
    together = embedder.embed(samples, **options)
    alone = joined([embedder.embed([sample], **options) for sample in samples])
    by_three = embedder.embed(samples, batch_size=3, **options)
    backwards = embedder.embed(samples[::-1], **options)
    assert_close(alone, together, 1e-4)
    assert_close(by_three, together, 1e-4)
    for v in VERSIONS:
        np.testing.assert_allclose(backwards.vectors[v][::-1], together.vectors[v], atol=1e-4)
        distinct = np.abs(together.vectors[v][:, None] - together.vectors[v][None]).max(-1)
        assert distinct[~np.eye(len(samples), dtype=bool)].min() > 1e-3, (
            "samples must differ for this to mean anything"
        )


@pytest.mark.parametrize("name", ["trained", *FAMILIES])
def test_shapes_units_and_bounds(name, embedder_of, samples):
    embedder = embedder_of(name)
    embedded = embedder.embed(samples, subjects=True)
    dimension = embedder.info.dimension
    assert dimension == 32
    for v in VERSIONS:
        assert (
            embedded.vectors[v].shape == (len(samples), dimension) and embedded.vectors[v].dtype == np.float32
        )
        np.testing.assert_allclose(np.linalg.norm(embedded.vectors[v], axis=1), 1, atol=1e-5)
    for i, sample in enumerate(samples):
        regions = embedded.regions[i]
        single = [region.single for region in regions]
        subjects = single.count(True)
        # ordered pairs of the first four, and the ground; nothing without a subject
        pairs = {0: 0, 1: 0, 2: 2, 3: 6}.get(subjects, 12)
        around = pairs + bool(subjects)
        assert subjects <= 6 and single == [True] * subjects + [False] * around
        assert sample.image is not None or not regions
        stated = len(regions) if sample.image is not None else {TOLD: 5}.get(sample.text, 1)
        for v in VERSIONS:
            rows = embedded.subject_vectors[v][i]
            assert rows.shape == (stated, dimension) and rows.dtype == np.float32
            lengths = np.linalg.norm(rows, axis=1)
            certain = np.delete(lengths, range(subjects, subjects + pairs)) if regions else lengths
            np.testing.assert_allclose(certain, 1, atol=1e-5)
            assert (lengths < 1 + 1e-5).all() and (
                lengths > 0
            ).all()  # a relation is as long as it is certain
        if regions:
            assert regions[-1].bbox == (0, 0, *sample.image.size)
        for region in regions:
            x, y, w, h = region.bbox
            assert 0 <= region.salience <= 1 and w > 0 and h > 0
            assert (
                x >= 0
                and y >= 0
                and x + w <= sample.image.width + 1e-3
                and y + h <= sample.image.height + 1e-3
            )
    assert len(embedded.regions[3]) > 0, "two discs must give a subject"


def test_a_text_states_its_phrases_its_setting_and_its_relation(trained):
    (plain, ours) = (trained.embed([Sample(TOLD)], subjects=True).subject_vectors[v][0] for v in VERSIONS)
    phrases = [Sample(phrase) for phrase in ("a red bird", "a blue circle", "in the house")]
    read = trained.embed(phrases).vectors["baseline"]
    np.testing.assert_allclose(plain[:3], read, atol=1e-5)  # without trained parts they are what is read
    composition = SubjectComposition(32)
    left_of = torch.tensor([[1.0, 0.0, 0.0]])
    bound = composition.role(torch.from_numpy(read[:1]), torch.from_numpy(read[1:2]), left_of)[0].numpy()
    np.testing.assert_allclose(plain[3], bound / np.linalg.norm(bound), atol=1e-5)
    passes = trained._passes
    with torch.inference_mode(), passes.adapters.mixed(("ssa-me",), 3):
        spoken = passes.backbone.language_pass([phrase.text for phrase in phrases]).embedding()
        codes = passes.parts.composition.phrase_codes(spoken)
    np.testing.assert_allclose(ours[:3], codes.numpy(), atol=1e-5)
    assert ours.shape == plain.shape and (codes - spoken).abs().max() > 0.05
    turned = "a blue circle left of a red bird in the house"
    other = trained.embed([Sample(turned)], subjects=True).subject_vectors["ssa-me"][0]
    np.testing.assert_allclose(other[[1, 0, 2]], ours[:3], atol=1e-5)
    assert np.abs(other[3] - ours[3]).max() > 0.05  # who stands where is another thing to say


def test_subjects_are_found_on_request(trained, samples):
    plain = trained.embed(samples)
    assert all(of_image == () for of_image in plain.regions)
    assert all(len(rows) == 0 for v in VERSIONS for rows in plain.subject_vectors[v])
    found = trained.embed(samples, subjects=True)
    for v in VERSIONS:
        np.testing.assert_allclose(found.vectors[v], plain.vectors[v], atol=1e-6)


@pytest.mark.parametrize("version", VERSIONS)
def test_one_version_alone(version, trained, samples):
    both = trained.embed(samples, subjects=True)
    one = trained.embed(samples, versions=(version,), subjects=True)
    assert set(one.vectors) == set(one.subject_vectors) == {version}
    np.testing.assert_allclose(one.vectors[version], both.vectors[version], atol=1e-6)
    assert one.regions == both.regions


def test_nothing_to_embed(trained):
    embedded = trained.embed([])
    assert embedded.vectors["ssa-me"].shape == (0, 32) and embedded.regions == ()


def test_an_unknown_version_is_bad_input(trained):
    with pytest.raises(InputError, match=r"no version best\. Versions: baseline, ssa-me"):
        trained.embed([Sample("a")], versions=("best",))


def test_one_vision_pass_serves_both_versions(trained, samples, monkeypatch):
    seen = []
    original = Backbone.vision_pass
    monkeypatch.setattr(
        Backbone, "vision_pass", lambda self, images: seen.append(len(images)) or original(self, images)
    )
    trained.embed(samples, subjects=True)
    assert seen == [5]  # one of the images stands in two samples


def test_a_text_of_ten_thousand_characters_and_any_script(trained, picture):
    texts = [
        "a red bird " * 910,
        "红色的鸟",
        "طائر أحمر",
        "🦜",
        "<|image_pad|> <|im_end|> bird",
        "half \ud83e",
    ]
    both = [Sample(text, picture()) for text in texts]
    for batch in ([Sample(text) for text in texts], both):
        for vectors in trained.embed(batch).vectors.values():
            np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), 1, atol=1e-5)
            assert len(np.unique(vectors.round(4), axis=0)) == len(texts)


# --- the two versions ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("family", FAMILIES)
def test_a_bare_backbone_runs_training_free(family, embedder_of, checkpoint_of, discs):
    embedder = embedder_of(family)
    info = embedder.info
    assert info.trained == {"baseline": False, "ssa-me": False}
    assert info.family == family and "training-free" in info.knows
    embedded = embedder.embed([Sample("red bird"), Sample(image=discs)])
    text, image = np.abs(embedded.vectors["ssa-me"] - embedded.vectors["baseline"]).max(1)
    assert text < 1e-6, "without adapters both read a text alike, to rounding"
    assert image > 1e-3
    backbone = Backbone.load(checkpoint_of(family), CPU, torch.float32)
    with torch.no_grad():
        plain = backbone.language_pass([""], backbone.vision_pass([discs])).last.numpy()
    np.testing.assert_allclose(embedded.vectors["baseline"][1:], plain / np.linalg.norm(plain), atol=1e-5)


@pytest.mark.parametrize("family", ["qwen2_vl", "qwen3_vl"])
def test_a_floor_of_one_without_training_is_the_baseline(family, embedder_of, checkpoint_of, discs):
    backbone = Backbone.load(checkpoint_of(family), CPU, torch.float32)
    info = embedder_of(family).info
    neutral = SalientEmbedder(
        backbone, Adapters(backbone), None, Settings(floor=1.0, free_floor=1.0), info, OpenCVExpert()
    )
    vectors = neutral.embed([Sample(image=discs), Sample("red bird", discs)]).vectors
    np.testing.assert_allclose(vectors["ssa-me"], vectors["baseline"], atol=1e-5)


def test_trained_versions_differ_on_texts_and_images(trained, discs):
    assert trained.info.trained == {"baseline": True, "ssa-me": True}
    assert trained.info.knows == "Random numbers; expect nothing."
    vectors = trained.embed([Sample("red bird"), Sample(image=discs)]).vectors
    assert (np.abs(vectors["ssa-me"] - vectors["baseline"]).max(1) > 1e-2).all()


@pytest.mark.parametrize("name", ["trained", "qwen2_vl"])
def test_a_condition_moves_both_versions(name, embedder_of, discs):
    """The baseline too: it is the control, under the same salience without trained parts."""
    embedder = embedder_of(name)
    red, blue, free = (
        embedder.embed([Sample(image=discs)], conditioned_on=phrase).vectors
        for phrase in ("a red bird", "a blue bird", None)
    )
    for v in VERSIONS:
        assert np.abs(red[v] - blue[v]).max() > 1e-4
        assert np.abs(red[v] - free[v]).max() > 1e-4
    same = np.abs(red["ssa-me"] - red["baseline"]).max()
    assert same < 1e-6 if name == "qwen2_vl" else same > 1e-2, "without trained parts the two are one"


def test_the_control_is_suppression_by_the_same_salience(trained, trained_checkpoint, discs):
    """By hand: V drawn to its mean by w = 0.3 + 0.7 S, log w as key bias, read by the baseline's adapter."""
    [maps] = trained.maps([discs], ["a red bird"])
    w = torch.from_numpy(0.3 + 0.7 * maps.salience)[None]
    backbone = Backbone.load(trained_checkpoint, CPU, torch.float32)
    adapters = Adapters(backbone)
    adapters.load("baseline", trained_checkpoint / "baseline")
    adapters.use("baseline")
    with torch.no_grad():
        visual = backbone.vision_pass([discs])
        mean = visual.tokens.mean(1, keepdim=True)
        tokens = w[..., None] * visual.tokens + (1 - w[..., None]) * mean
        last = backbone.language_pass([""], visual.with_tokens(tokens, ()), w.log()).last.numpy()
    control = trained.embed([Sample(image=discs)], conditioned_on="a red bird").vectors["baseline"]
    np.testing.assert_allclose(control, last / np.linalg.norm(last), atol=1e-5)


def test_a_condition_names_the_place_without_training(embedder_of, discs):
    """The expert weighs by colour words: under "red" the left disc is the subject, under "blue" the right one."""
    for phrase, left in (("a red thing", True), ("a blue thing", False)):
        embedded = embedder_of("qwen2_vl").embed([Sample(image=discs)], subjects=True, conditioned_on=phrase)
        best = max(embedded.regions[0], key=lambda region: region.salience)
        assert (best.bbox[0] + best.bbox[2] / 2 < 48) == left


def test_info(trained, trained_checkpoint):
    info = trained.info
    assert (info.name, info.checkpoint) == ("tiny", str(trained_checkpoint))
    assert (info.device, info.precision, info.reason) == ("cpu", "fp32", "the CPU was asked for")
    assert info.fingerprints == fingerprints(trained_checkpoint)
    assert info.parameters > 80_000


# --- queries ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("weight", "shares"),
    [
        (0, (1, 0, 0)),
        (0.25, (0.5, 0.5, 0)),
        (0.5, (0, 1, 0)),
        (0.75, (0, 0.5, 0.5)),
        (1, (0, 0, 1)),
        (0.4, (0.2, 0.8, 0)),
    ],
)
def test_the_weight_of_the_image(weight, shares, trained, discs):
    """0 the text alone, 0.5 the joint embedding, 1 the image alone; linear between, renormalised."""
    alone = trained.embed([Sample("a red bird"), Sample("a red bird", discs), Sample(image=discs)]).vectors
    query = trained.embed_query("a red bird", discs, weight)
    for v in VERSIONS:
        mixed = np.array(shares, dtype=np.float32) @ alone[v]
        np.testing.assert_allclose(query[v], mixed / np.linalg.norm(mixed), atol=1e-4)
        np.testing.assert_allclose(np.linalg.norm(query[v]), 1, atol=1e-5)
        assert query[v].shape == (32,) and query[v].dtype == np.float32


@pytest.mark.parametrize("weight", [0, 0.3, 1])
def test_a_query_of_one_kind_ignores_the_weight(weight, trained, discs):
    alone = trained.embed([Sample("bird"), Sample(image=discs)]).vectors
    for v in VERSIONS:
        np.testing.assert_allclose(trained.embed_query("bird", None, weight)[v], alone[v][0], atol=1e-4)
        for text in (None, "", "  "):
            np.testing.assert_allclose(trained.embed_query(text, discs, weight)[v], alone[v][1], atol=1e-4)


@pytest.mark.parametrize("weight", [-0.01, 1.01, float("nan")])
def test_a_weight_outside_its_range_is_bad_input(weight, trained, discs):
    with pytest.raises(InputError, match="between 0 and 1"):
        trained.embed_query("bird", discs, weight)


def test_the_head_is_asked_by_phrases_as_it_learned_them_with_nothing_composed_into_them(
    checkpoint_of, trained, discs
):
    own = SalientEmbedder.load(trained.info.checkpoint, "cpu")
    phrase = "a red bird"
    before, told = own.maps([discs], [phrase])[0], own.embed([Sample(phrase)]).vectors["ssa-me"]
    with torch.no_grad():
        own._passes.parts.composition.gates.add_(3.0)
    after = own.maps([discs], [phrase])[0]
    np.testing.assert_array_equal(after.salience, before.salience)
    assert np.abs(own.embed([Sample(phrase)]).vectors["ssa-me"] - told).max() > 1e-3


def test_a_marked_region_is_embedded_as_a_subject_is(trained, embedder_of, discs):
    width, height = discs.size
    whole = trained.embed_region(discs, (0, 0, width, height))
    half = trained.embed_region(discs, (0, 0, width / 2, height))
    for version in ("baseline", "ssa-me"):
        assert np.linalg.norm(half[version]) == pytest.approx(1, abs=1e-5)
        assert not np.allclose(whole[version], half[version], atol=1e-3)
    assert list(trained.embed_region(discs, (0, 0, 9, 9), versions=("baseline",))) == ["baseline"]
    plain = embedder_of("qwen2_vl")
    found = plain.embed([Sample(image=discs)], subjects=True)
    (region, *_), rows = found.regions[0], found.subject_vectors["baseline"][0]
    marked = plain.embed_region(discs, region.bbox, versions=("baseline",))["baseline"]
    assert int((rows @ marked).argmax()) == 0  # the same place, by area rather than by salience
    with pytest.raises(InputError, match="no part of the image"):
        trained.embed_region(discs, (width + 1, 0, 5, 5))


@pytest.mark.parametrize("text", [None, "", " \n"])
def test_an_empty_query_is_bad_input(text, trained):
    with pytest.raises(InputError, match="neither"):
        trained.embed_query(text, None)


def test_a_query_in_one_version(trained, discs):
    assert set(trained.embed_query("bird", discs, 0.25, versions=("baseline",))) == {"baseline"}


# --- maps ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["trained", "qwen2_5_vl", "qwen3_vl"])
def test_maps(name, embedder_of, picture, discs):
    embedder = embedder_of(name)
    images = [discs, picture(40, 90), picture(64, 64), discs]
    phrases = [None, "a red bird", None, "the blue circle"]
    maps = embedder.maps(images, phrases)
    for image, phrase, found in zip(images, phrases, maps, strict=True):
        count = len(found.boxes)
        assert found.boxes.shape == (count, 4) and found.salience.shape == (count,)
        np.testing.assert_allclose(found.boxes.max(0)[2:], image.size, rtol=1e-5)
        assert (found.boxes.min(0)[:2] == 0).all()
        assert found.salience.min() >= 0 and found.salience.max() <= 1
        for v in VERSIONS:
            assert found.attention[v].shape == (count,)
            assert found.attention[v].min() >= 0 and 0 < found.attention[v].sum() <= 1
        [single] = embedder.maps([image], [phrase])
        np.testing.assert_allclose(single.salience, found.salience, atol=1e-4)
        for v in VERSIONS:
            np.testing.assert_allclose(single.attention[v], found.attention[v], atol=1e-4)
    assert np.abs(maps[0].attention["baseline"] - maps[3].attention["baseline"]).max() > 1e-5
    assert np.abs(maps[0].salience - maps[3].salience).max() > 1e-4


def test_the_attention_of_a_map_is_the_mean_of_the_later_layers(embedder_of, checkpoint_of, discs):
    backbone = Backbone.load(checkpoint_of("qwen2_5_vl"), CPU, torch.float32)
    with torch.no_grad():
        rows = (
            backbone.language_pass(["bird"], backbone.vision_pass([discs]), collect_rows=True).rows[0].numpy()
        )
    [found] = embedder_of("qwen2_5_vl").maps([discs], ["bird"])
    np.testing.assert_allclose(found.attention["baseline"], (rows[1] + rows[2]) / 2, atol=1e-6)


def test_no_maps_of_nothing(trained):
    assert trained.maps([], []) == []


def test_as_many_phrases_as_images(trained, discs):
    with pytest.raises(InputError, match="1 images for 2 phrases"):
        trained.maps([discs], ["a", "b"])


def test_phrases(trained):
    assert trained.phrases("a person in red left of a blue house") == ("a person in red", "a blue house")
    assert trained.phrases("  ") == ()
    assert len(trained.phrases("a bird and " * 900 + "a tree, a house, one, two, three, four, five")) == 6


# --- threads ---------------------------------------------------------------------------------------------------------


def flat(result) -> np.ndarray:
    """Every number of a result in one array."""
    if isinstance(result, dict):
        return np.concatenate([np.zeros(0), *(np.ravel(result[key]) for key in sorted(result))])
    if isinstance(result, Embedded):
        rows = [np.ravel(part) for v in VERSIONS for part in result.subject_vectors[v]]
        return np.concatenate([flat(dict(result.vectors)), *rows])
    if isinstance(result, list):
        return np.concatenate([np.concatenate([flat(dict(m.attention)), m.salience]) for m in result])
    scores = [score for alignment in result.alignment for score in alignment.scores.values()]
    return np.concatenate(
        [flat(dict(result.attention)), flat(dict(result.similarity)), flat(dict(result.stages)), scores]
    )


def test_parallel_requests_equal_serial_ones(trained, samples, discs, picture):
    """Searches, maps and explanations mixed on four threads: an adapter switched under another's pass would show."""
    work = [
        lambda: trained.embed_query("a red bird", None),
        lambda: trained.embed_query("a tree", discs, 0.3),
        lambda: trained.embed(samples, subjects=True),
        lambda: trained.explain(discs, "a red bird and a blue circle"),
        lambda: trained.maps([discs, picture()], [None, "tree"]),
        lambda: trained.embed(samples, conditioned_on="a house", versions=("ssa-me",)).vectors,
        lambda: trained.explain(picture(), None),
    ]
    serial = [flat(task()) for task in work]
    order = np.random.default_rng(0).permutation(np.repeat(np.arange(len(work)), 4)).tolist()
    with ThreadPoolExecutor(4) as pool:
        parallel = list(pool.map(lambda i: flat(work[i]()), order))
    for i, numbers in zip(order, parallel, strict=True):
        np.testing.assert_allclose(numbers, serial[i], atol=1e-5, rtol=0)


# --- loading ---------------------------------------------------------------------------------------------------------


def test_one_adapter_alone_is_enough(trained_checkpoint, tmp_path, discs):
    folder = Path(shutil.copytree(trained_checkpoint, tmp_path / "c"))
    shutil.rmtree(folder / "ssa-me")
    embedder = SalientEmbedder.load(folder, "cpu")
    assert embedder.info.trained == {"baseline": True, "ssa-me": False}
    vectors = embedder.embed([Sample("bird"), Sample(image=discs)]).vectors
    assert (np.abs(vectors["ssa-me"] - vectors["baseline"]).max(1) > 1e-3).all()


def test_no_such_folder(tmp_path):
    for path in (tmp_path / "absent", tmp_path / "file"):
        (tmp_path / "file").write_text("")
        with pytest.raises(InputError, match="There is no checkpoint folder"):
            SalientEmbedder.load(path, "cpu")


def test_a_folder_without_a_checkpoint(tmp_path):
    with pytest.raises(InputError, match=r"it holds no config\.json"):
        SalientEmbedder.load(str(tmp_path), "cpu")


@pytest.mark.parametrize("name", ["baseline/adapter_model.safetensors", "ssa-me/regeneration.safetensors"])
def test_half_an_adapter_is_bad_input(name, trained_checkpoint, tmp_path):
    folder = Path(shutil.copytree(trained_checkpoint, tmp_path / "c"))
    (folder / name).unlink()
    with pytest.raises(InputError, match=f"it lacks {Path(name).name}"):
        SalientEmbedder.load(folder, "cpu")


def test_layers_that_the_model_has_not_are_bad_input(trained_checkpoint, tmp_path):
    folder = Path(shutil.copytree(trained_checkpoint, tmp_path / "c"))
    settings = folder / "ssa-me" / "ssa_me.json"
    settings.write_text(settings.read_text().replace('"layers": null', '"layers": [1, 3]'))
    with pytest.raises(InputError, match=r"layers \[3\] of a model with 3"):
        SalientEmbedder.load(folder, "cpu")


def test_a_device_that_is_none(checkpoint_of):
    with pytest.raises(InputError, match="is not a device"):
        SalientEmbedder.load(checkpoint_of("qwen2_vl"), "toaster")


def test_it_says_whether_it_reads_all_of_a_text(trained):
    assert trained.reads_whole("a person in red")
    assert not trained.reads_whole("red " * 2_500)
