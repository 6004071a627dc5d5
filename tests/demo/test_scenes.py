"""The drawn pictures are repeatable and in range; their depth is exact, their alpha soft."""

import subprocess
import sys
import zlib
from pathlib import Path

import cv2
import numpy as np
import pytest

from dsetkit.demo.scenes import draw_cutout, draw_room, write_pictures, write_rgbd
from dsetkit.demo.scenes.cutouts import FAMILIES
from dsetkit.demo.scenes.floorplan import plan_room
from dsetkit.demo.scenes.palette import colour, make_generator
from dsetkit.demo.scenes.primitives import BOTTOM, Box, Cone, Ellipsoid, Rays, Shape, dot
from dsetkit.demo.scenes.scene import Camera, Item, Scene, Solid
from dsetkit.demo.scenes.solids import (
    Capsule,
    Lathe,
    RoundedBox,
    SoftEllipsoid,
    SoftShape,
    Torus,
)
from dsetkit.demo.scenes.textures import plain

SMALL = (60, 80)
GREY = plain(make_generator(0, 0), colour("#808080"))

SHAPES = [
    Box((-0.5, -0.4, 0.1), (0.3, 0.6, 1.2)),
    Cone((0.1, 0.2, 0.0), 1.0, 0.5, 0.2),
    Cone((0.0, 0.0, 0.3), 0.8, 0.3, 0.3),
    Ellipsoid((0.1, 0.0, 0.6), (0.6, 0.3, 0.5)),
]
SOFT_SHAPES = [
    SoftEllipsoid((0.5, 0.3, 0.2)),
    Capsule(0.6, 0.1, 0.25),
    RoundedBox((0.5, 0.3, 0.2), 0.05),
    Torus(0.4, 0.1),
    Lathe(1.0, (0.2, 0.5, 0.3, 0.1)),
]


def _name(value: object) -> str:
    return type(value).__name__


def _empty_room(*items: Item, size: tuple[float, float, float] = (4.0, 6.0, 2.5)) -> Scene:
    shell = Item((Solid(Box((0, 0, 0), size, inside=True), GREY),), casts_shadow=False)
    return Scene((shell, *items))


# --- rooms -------------------------------------------------------------------------------------


def test_a_room_is_the_same_in_a_fresh_process() -> None:
    command = (
        "import zlib; from dsetkit.demo.scenes import draw_room; draw_room(1, size=(24, 32));"
        "image, depth = draw_room(4, seed=9, size=(60, 80));"
        "print(zlib.crc32(image.tobytes()), zlib.crc32(depth.tobytes()))"
    )
    printed = subprocess.run(
        [sys.executable, "-c", command],
        capture_output=True,
        text=True,
        check=True,
        cwd=Path(__file__).parents[2],
    ).stdout
    image, depth = draw_room(4, seed=9, size=SMALL)
    assert printed.split() == [str(zlib.crc32(image.tobytes())), str(zlib.crc32(depth.tobytes()))]


def test_index_and_seed_both_change_the_room() -> None:
    first, _ = draw_room(0, size=SMALL)
    assert not np.array_equal(first, draw_room(1, size=SMALL)[0])
    assert not np.array_equal(first, draw_room(0, seed=1, size=SMALL)[0])


@pytest.mark.parametrize("size", [(60, 80), (48, 48), (71, 33)])
def test_room_pictures_keep_their_shape_type_and_range(size: tuple[int, int]) -> None:
    for index in range(3):
        image, depth = draw_room(index, size=size)
        assert image.shape == (*size, 3) and image.dtype == np.uint8
        assert depth.shape == size and depth.dtype == np.float32
        assert depth.min() > 0.3 and depth.max() <= 10
        assert 40 < image.mean() < 220 and image.std() > 10, f"room {index} is flat or blown out"


def test_depth_of_many_rooms_stays_in_range() -> None:
    for index in range(25):
        room = plan_room(make_generator(3, index))
        depth = room.scene.trace(room.camera, 24, 32).depth
        assert depth.min() > 0.3 and depth.max() <= 10, f"room {index}"


def test_a_wall_straight_ahead_has_one_depth() -> None:
    camera = Camera.looking(np.array([2.0, 1.0, 1.2]), yaw=0, pitch=0, fov_deg=60)
    depth = _empty_room().trace(camera, *SMALL).depth
    assert np.allclose(depth[20:40, 30:50], 5.0, atol=1e-5)  # ray lengths would differ by 2 %


def test_the_floor_projects_back_onto_one_plane() -> None:
    room = plan_room(make_generator(0, 2))
    height, width = size = (120, 160)
    hits = room.scene.trace(room.camera, *size)
    _, depth = draw_room(2, size=size)
    assert np.array_equal(hits.depth, depth)
    shell = next(room.scene.patches(room.camera, hits))
    floor = shell.pixels[shell.surface.face == BOTTOM]
    assert floor.size > 100
    row, column = np.unravel_index(floor, size)
    focal_px = room.camera.focal_px(*size)
    right = (column + 0.5 - width / 2) / focal_px
    down = (row + 0.5 - height / 2) / focal_px
    in_camera = np.stack([right, down, np.ones_like(right)]) * depth[row, column]
    in_world = room.camera.axes.T @ in_camera + room.camera.position[:, None]
    assert np.abs(in_world[2]).max() < 1e-3


def test_the_nearest_point_of_a_ball_is_closer_by_its_radius() -> None:
    ball = Item((Solid(Ellipsoid((2.0, 4.0, 1.2), (0.5, 0.5, 0.5)), GREY),))
    camera = Camera.looking(np.array([2.0, 1.0, 1.2]), yaw=0, pitch=0, fov_deg=60)
    assert _empty_room(ball).trace(camera, 61, 81).depth[30, 40] == pytest.approx(2.5, abs=1e-5)


def test_tracing_only_the_region_of_each_solid_misses_no_hit() -> None:
    room = plan_room(make_generator(0, 6))
    rays = room.camera.rays(*SMALL)
    everywhere = [solid.shape.intersect(item.to_local(rays)) for item, solid in room.scene.solids]
    assert len(everywhere) > 20
    depth = room.scene.trace(room.camera, *SMALL).depth
    assert np.allclose(depth, np.min(everywhere, axis=0), atol=1e-5)


@pytest.mark.parametrize("shape", SHAPES, ids=_name)
def test_rays_end_on_the_surface_and_normals_face_the_rays(shape: Shape) -> None:
    rng = np.random.default_rng(0)
    origin = (rng.normal(size=(3, 500)) * 3).astype(np.float32)
    origin = origin[:, np.linalg.norm(origin, axis=0) > 2]
    target = rng.normal(size=origin.shape).astype(np.float32) * 0.3 + [[0], [0], [0.5]]
    rays = Rays(origin, (target - origin).astype(np.float32))
    t = shape.intersect(rays)
    hit = np.isfinite(t)
    assert hit.sum() > 100
    points = rays.origin[:, hit] + t[hit] * rays.direction[:, hit]
    low, high = shape.bounds
    assert (points > low[:, None] - 1e-4).all() and (points < high[:, None] + 1e-4).all()
    normal = shape.surface(points).normal
    assert np.allclose(np.linalg.norm(normal, axis=0), 1, atol=1e-4)
    assert (dot(normal, rays.direction[:, hit]) < 1e-3).all()
    second = shape.intersect(Rays(points + 1e-2 * normal, normal))
    assert np.isinf(second).all(), "a ray that leaves a convex shape must not hit it again"


def test_a_box_blocks_light_only_in_its_shadow() -> None:
    box = Item((Solid(Box((-0.5, -0.5, 0), (0.5, 0.5, 1)), GREY),)).placed(2.0, 3.0, yaw=0.4)
    start = np.array([[2, 3.6, 2], [3, 3, 1.5], [1.5, 1.5, 0.3]], np.float32)  # above, right, front
    lamp_below = np.array([[2], [3], [0.5]], np.float32)
    free = _empty_room(box).unblocked(Rays(start, lamp_below - start))
    assert not free.any()
    lamp_above = np.array([[2], [3], [2.4]], np.float32)
    free = _empty_room(box).unblocked(Rays(start[:, :2], lamp_above - start[:, :2]))
    assert free.all()


# --- cut-outs ----------------------------------------------------------------------------------


@pytest.mark.parametrize("index", range(len(FAMILIES)), ids=[f.__name__ for f in FAMILIES])
def test_every_family_gives_a_tight_soft_cutout(index: int) -> None:
    rgba = draw_cutout(index, size=64)
    height, width, channels = rgba.shape
    assert channels == 4 and rgba.dtype == np.uint8
    assert 40 <= max(height, width) <= 64
    alpha = rgba[..., 3]
    border = np.concatenate([alpha[0], alpha[-1], alpha[:, 0], alpha[:, -1]])
    assert not border.any(), "the object touches the edge"
    assert (alpha > 120).mean() > 0.08, "the object is hardly visible"
    assert ((alpha > 8) & (alpha < 247)).sum() > 20, "no soft edge"
    rows, columns = np.nonzero(alpha)
    assert rows.min() <= 4 and columns.min() <= 4
    assert rows.max() >= height - 5 and columns.max() >= width - 5


def test_a_cutout_depends_on_seed_and_index_alone() -> None:
    first = draw_cutout(1, size=64)
    draw_cutout(2, size=64)
    assert np.array_equal(first, draw_cutout(1, size=64))
    other = draw_cutout(1, seed=1, size=64)
    assert first.shape != other.shape or not np.array_equal(first, other)


def test_transparent_pixels_have_the_colours_of_the_object() -> None:
    rgba = draw_cutout(0, size=64).astype(int)  # a ball
    outside, inside = rgba[rgba[..., 3] == 0, :3], rgba[rgba[..., 3] == 255, :3]
    assert outside.min() > 10
    assert np.abs(outside.mean(axis=0) - inside.mean(axis=0)).max() < 70


def test_glass_lets_the_background_through() -> None:
    bottle = [f.__name__ for f in FAMILIES].index("bottle")
    alpha = draw_cutout(bottle, size=96)[..., 3]
    middle = alpha[alpha.shape[0] * 2 // 5 : alpha.shape[0] * 4 // 5, alpha.shape[1] // 2]
    assert ((middle > 100) & (middle < 240)).any() and (middle == 255).any()  # glass and label


@pytest.mark.parametrize("shape", SOFT_SHAPES, ids=_name)
def test_soft_shapes_stay_within_their_half_extent(shape: SoftShape) -> None:
    rng = np.random.default_rng(0)
    axes = np.linalg.qr(rng.normal(size=(3, 3)))[0]
    x, y, z = rng.uniform(-1, 1, (3, 50_000)).astype(np.float32)
    inside = shape.distance(x, y, z) < 0
    assert inside.sum() > 100
    along = axes @ np.stack([x, y, z])[:, inside]
    assert (np.abs(along).max(axis=1) <= shape.half_extent(axes) + 1e-5).all()
    assert (np.abs(along).max(axis=1) >= 0.7 * shape.half_extent(axes)).all(), "not tight"


@pytest.mark.parametrize("shape", SOFT_SHAPES, ids=_name)
def test_soft_distances_hardly_exceed_the_distance_to_the_surface(shape: SoftShape) -> None:
    rng = np.random.default_rng(0)
    start = rng.uniform(-1, 1, (3, 5000)).astype(np.float32)
    distance = shape.distance(*start)
    direction = rng.normal(size=start.shape).astype(np.float32)
    direction /= np.linalg.norm(direction, axis=0)
    outside = distance > 0.01
    moved = start + direction * 0.8 * distance
    assert (shape.distance(*moved)[outside] > -0.02).all()


# --- folders -----------------------------------------------------------------------------------


def test_written_pictures_can_be_read(tmp_path: Path) -> None:
    foregrounds, backgrounds = write_pictures(tmp_path / "new", rooms=1, cutouts=1)
    cutouts, rooms = sorted(foregrounds.iterdir()), sorted(backgrounds.iterdir())
    assert [p.suffix for p in cutouts + rooms] == [".png", ".jpg"]
    read = cv2.cvtColor(cv2.imread(str(cutouts[0]), cv2.IMREAD_UNCHANGED), cv2.COLOR_BGRA2RGBA)
    assert np.array_equal(read, draw_cutout(0))
    room = cv2.imread(str(rooms[0]))[..., ::-1].astype(int)
    assert np.abs(room - draw_room(0)[0]).mean() < 4  # JPEG


def test_written_depth_is_in_millimetres(tmp_path: Path) -> None:
    write_rgbd(tmp_path, 2, seed=5, size=SMALL)
    assert sorted(p.name for p in tmp_path.iterdir()) == [
        "0000_color.jpg",
        "0000_depth.png",
        "0001_color.jpg",
        "0001_depth.png",
    ]
    depth_mm = cv2.imread(str(tmp_path / "0001_depth.png"), cv2.IMREAD_UNCHANGED)
    assert depth_mm.dtype == np.uint16
    assert np.abs(depth_mm / 1000 - draw_room(1, seed=5, size=SMALL)[1]).max() <= 0.00051
