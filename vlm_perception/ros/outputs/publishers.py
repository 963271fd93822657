"""The node's outputs and what goes out when."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType
from typing import Any

from rclpy.node import Node
from rclpy.publisher import Publisher
from rclpy.qos import QoSProfile, ReliabilityPolicy
from sensor_msgs.msg import CompressedImage, Image
from std_msgs.msg import String
from vision_msgs.msg import Detection2DArray, Detection3DArray
from visualization_msgs.msg import ImageMarker, MarkerArray

from vlm_perception.frames.encodings import Pixels
from vlm_perception.ros.image_messages import image_message, jpeg_message
from vlm_perception.ros.inputs.depth import DepthInput
from vlm_perception.ros.inputs.transforms import TransformInput
from vlm_perception.ros.outputs.camera_info import CameraInfoRelay
from vlm_perception.ros.outputs.marker_messages import marker_message
from vlm_perception.ros.outputs.result_messages import answer_json, detections_message, header_message
from vlm_perception.ros.outputs.space_messages import (
    detections_3d_message,
    markers_3d_message,
    track_markers_message,
    tracks_3d_message,
)
from vlm_perception.ros.outputs.track_messages import tracks_json, tracks_message
from vlm_perception.ros.qos import quiet_publisher
from vlm_perception.ros.topics import camera_info_topic, is_rectified, result_prefixes
from vlm_perception.types import Frame, FrameHeader, Request, Result
from vlm_perception.world.camera_model import CameraModelError
from vlm_perception.world.depth_view import DepthView
from vlm_perception.world.field_of_view import FieldOfView, looked_at
from vlm_perception.world.lift import NoSpot, Places, Spots
from vlm_perception.world.tracks import Track, Tracks
from vlm_perception.world.transforms import IDENTITY, TransformError

_RELIABLE = QoSProfile(depth=10, reliability=ReliabilityPolicy.RELIABLE)
_PICTURES = QoSProfile(depth=1, reliability=ReliabilityPolicy.RELIABLE)


class Outputs:
    """The publishers of each camera: `~/detections` and so on for one, `~/NAME/detections` for several.

    Args:
        node: Owner of the publishers.
        on_bad_transform: Told of a transform that cannot be used.
        kept_depth_bytes: How much depth of all cameras is kept; asked on the executor.
    """

    def __init__(
        self,
        node: Node,
        on_bad_transform: Callable[[str], None] = lambda _: None,
        kept_depth_bytes: Callable[[], int] = lambda: 0,
    ) -> None:
        self._node, self._on_bad_transform, self._kept_depth_bytes = node, on_bad_transform, kept_depth_bytes
        self._transforms: TransformInput | None = None
        self._by_camera: dict[str, Publishers] = {}
        self._shapes: dict[str, tuple[str, str]] = {}

    def use(
        self, topics: Sequence[str], depths: Mapping[str, str] = MappingProxyType({}), target_frame: str = ""
    ) -> None:
        """Publish for these cameras from now on.

        Args:
            topics: Resolved image topics.
            depths: Image topic to depth topic of those that have depth.
            target_frame: The frame that their places are wanted in; empty for the camera's own.
        """
        target_frame = target_frame if depths else ""
        if self._transforms is not None and self._transforms.target != target_frame:
            self._transforms.close()
            self._transforms = None
        if target_frame and self._transforms is None:
            self._transforms = TransformInput(self._node, target_frame, self._on_bad_transform)
        shapes = {topic: (prefix, depths.get(topic, "")) for topic, prefix in result_prefixes(topics).items()}
        for topic in [topic for topic, shape in self._shapes.items() if shapes.get(topic) != shape]:
            self._by_camera.pop(topic).close()
        for topic, (prefix, depth) in shapes.items():
            if topic not in self._by_camera:
                self._by_camera[topic] = Publishers(self._node, topic, prefix, depth, self._depth_share_bytes)
        self._shapes = shapes

    def _depth_share_bytes(self) -> int:
        """Of one camera."""
        return self._kept_depth_bytes() // max(1, sum(bool(depth) for _, depth in self._shapes.values()))

    def of(self, camera: str) -> Publishers | None:
        """Return a camera's publishers, or None when it has gone."""
        return self._by_camera.get(camera)

    def place(self, result: Result, tolerance_s: float) -> Places | None:
        """Place the objects in space; None for a camera without depth. On any thread but the executor's."""
        frame, transforms = result.request.frame, self._transforms
        publishers = self.of(frame.camera)
        spots = None if publishers is None else publishers.place(result, tolerance_s)
        if spots is None:
            return None
        if transforms is None or transforms.target == frame.header.frame_id:
            return Places(frame.header.frame_id, spots)
        brought = transforms.bring(spots, frame.header, frame.received_s)
        return Places(transforms.target, brought, is_optical=False)

    def field_of_view(self, request: Request, tolerance_s: float, frame_id: str) -> Callable[[], FieldOfView | None]:
        """Take hold of what tells which places were in view of a pinned frame; on any thread.

        Args:
            request: About that frame.
            tolerance_s: How far the stamps of image and depth may be apart.
            frame_id: The frame of the places: that of the image, or the target frame of when the answer was placed.

        Returns:
            What reads it, on any thread but the executor's; it gives None where depth or the transform into that
            frame is missing.
        """
        frame, transforms, publishers = request.frame, self._transforms, self.of(request.frame.camera)
        depth_of = None if publishers is None else publishers.depth_of(frame, tolerance_s)

        def read() -> FieldOfView | None:
            view = None if depth_of is None else depth_of()
            is_optical = frame_id == frame.header.frame_id
            if view is None or isinstance(view, NoSpot):
                return None
            # The target may have been changed since.
            if not is_optical and (transforms is None or transforms.target != frame_id):
                return None
            depth_wh = (view.depth_m.shape[1], view.depth_m.shape[0])
            region = request.prompt.region
            part_xyxy = (0, 0, *frame.image_wh) if region is None else region.in_image(frame.image_wh)
            to_target = IDENTITY
            try:
                camera = view.camera.scaled_to(depth_wh)
                if transforms is not None and not is_optical:
                    to_target = transforms.transform_at(frame.header, frame.received_s)
            except (CameraModelError, TransformError):
                return None
            seen_xyxy = looked_at(part_xyxy, frame.image_wh, depth_wh)
            return FieldOfView(camera, view.depth_m, to_target.inverse(), seen_xyxy)

        return read

    def place_tracks(
        self, tracks: Tracks, tolerance_s: float, with_markers: bool
    ) -> Callable[[], Places | None] | None:
        """Place what is followed in space by the newest depth, for `~/tracks_3d` and, if so, for `~/markers_3d`.

        Returns:
            What gives the places, or None while their transform may still come, and is called again then; None when
            nobody looks at tracks in space.
        """
        transforms, publishers = self._transforms, self.of(tracks.camera)
        spots = None if publishers is None else publishers.place_tracks(tracks, tolerance_s, with_markers)
        if spots is None:
            return None
        if transforms is None or transforms.target == tracks.header.frame_id:
            return lambda: Places(tracks.header.frame_id, spots)

        def brought() -> Places | None:
            there = transforms.brought(spots, tracks.header, transforms.latest_s(tracks.received_s))
            return None if there is None else Places(transforms.target, there, is_optical=False)

        return brought


class Publishers:
    """Publishes the results about one camera; once closed nothing, whatever is still on its way.

    Args:
        node: Owner of the publishers.
        image_topic: Resolved topic of the camera's images.
        prefix: Private name below which the results go, such as `~` or `~/front`.
        depth_topic: Resolved topic of the camera's depth; empty when it has none, and no topics of places then.
        kept_depth_bytes: See `DepthInput`.

    Raises:
        SettingsError: A `qos_overrides` parameter of the calibration's or depth's topic cannot be used.
    """

    def __init__(
        self, node: Node, image_topic: str, prefix: str, depth_topic: str, kept_depth_bytes: Callable[[], int]
    ) -> None:
        self._node = node
        self._lock, self._closed = threading.Lock(), False
        self._depth = None
        if depth_topic:
            info_topic, rectified = camera_info_topic(image_topic), is_rectified(image_topic)
            self._depth = DepthInput(node, depth_topic, info_topic, rectified, kept_depth_bytes)
        on_info = None if self._depth is None else self._depth.hear_calibration
        self._calibration = CameraInfoRelay(node, image_topic, f"{prefix}/camera_info", on_info)

        def publisher(message_type: type[Any], name: str, profile: QoSProfile) -> Publisher:
            events = quiet_publisher()
            return node.create_publisher(message_type, f"{prefix}/{name}", profile, event_callbacks=events)

        self._detections = publisher(Detection2DArray, "detections", _RELIABLE)
        self._answer = publisher(String, "answer", _RELIABLE)
        self._markers = publisher(ImageMarker, "markers", _RELIABLE)
        self._tracks = publisher(Detection2DArray, "tracks", _RELIABLE)
        self._tracks_info = publisher(String, "tracks_info", _RELIABLE)
        self._annotated = publisher(Image, "annotated_image", _PICTURES)
        self._annotated_jpeg = publisher(CompressedImage, "annotated_image/compressed", _PICTURES)
        self._space: tuple[Publisher, ...] = ()
        self._tracks_3d: Publisher | None = None
        if depth_topic:
            self._tracks_3d = publisher(Detection3DArray, "tracks_3d", _RELIABLE)
            self._space = (
                publisher(Detection3DArray, "detections_3d", _RELIABLE),
                publisher(MarkerArray, "markers_3d", _RELIABLE),
            )

    def close(self) -> None:
        """Take the topics away."""
        pictures = (self._annotated, self._annotated_jpeg)
        own = (self._detections, self._answer, self._markers, self._tracks, self._tracks_info, *pictures, *self._space)
        own += () if self._tracks_3d is None else (self._tracks_3d,)
        with self._lock:
            self._closed = True
            self._calibration.close()
            if self._depth is not None:
                self._depth.close()
            for publisher in own:
                self._node.destroy_publisher(publisher)

    def pin_depth(self, header: FrameHeader) -> None:
        """Hold the depth of a frame that the model is asked about."""
        if self._depth is not None:
            self._depth.pin(header)

    def place(self, result: Result, tolerance_s: float) -> Spots | None:
        """Place the objects in the camera's frame; None for a camera without depth."""
        return None if self._depth is None else self._depth.place(result, tolerance_s)

    def depth_of(self, frame: Frame, tolerance_s: float) -> Callable[[], DepthView | NoSpot] | None:
        """Take hold of a pinned frame's depth; None for a camera without. See `DepthInput`."""
        return None if self._depth is None else self._depth.depth_of(frame, tolerance_s)

    def publish_answer(
        self,
        result: Result,
        latency_s: float,
        age_s: float | None,
        places: Places | None = None,
        with_markers: bool = True,
    ) -> None:
        """Publish boxes and words, and the camera's calibration beside them; see `answer_json` for the times.

        `with_markers` is false where those in space follow the tracks.

        A partial result goes to `~/detections` and `~/answer` alone: what is drawn is drawn once a
        frame.
        """
        with self._lock:
            if self._closed:
                return
            self._detections.publish(detections_message(result))
            self._answer.publish(String(data=answer_json(result, latency_s, age_s, places)))
            if result.partial:
                return
            self._calibration.take(result.request.frame.header)
            if self._markers.get_subscription_count() > 0:
                self._markers.publish(marker_message(result))
            if places is not None and self._space:
                detections, markers = self._space
                detections.publish(detections_3d_message(result, places))
                if with_markers and markers.get_subscription_count() > 0:
                    markers.publish(markers_3d_message(result, places))

    def wants_tracks(self) -> bool:
        """Whether anybody subscribes to tracks; on the executor, which closes, too: it waits for no publication."""
        wanted = (self._tracks, self._tracks_info, *(() if self._tracks_3d is None else (self._tracks_3d,)))
        return not self._closed and any(publisher.get_subscription_count() > 0 for publisher in wanted)

    def wants_picture(self) -> bool:
        """Whether anybody subscribes to the annotated image; as `wants_tracks`."""
        wanted = (self._annotated, self._annotated_jpeg)
        return not self._closed and any(publisher.get_subscription_count() > 0 for publisher in wanted)

    def publish_tracks(self, tracks: Tracks) -> None:
        """Publish where every object that is followed is in one frame."""
        with self._lock:
            if self._closed:
                return
            if self._tracks.get_subscription_count() > 0:
                self._tracks.publish(tracks_message(tracks))
            if self._tracks_info.get_subscription_count() > 0:
                self._tracks_info.publish(String(data=tracks_json(tracks)))

    def wants_markers_3d(self) -> bool:
        """Whether anybody subscribes to markers in space; as `wants_tracks`."""
        return not self._closed and any(each.get_subscription_count() > 0 for each in self._space[1:])

    def place_tracks(self, tracks: Tracks, tolerance_s: float, with_markers: bool) -> Spots | None:
        """Place what is followed in the camera's frame; None when nobody looks at it in space."""
        with self._lock:
            wanted = not self._closed and self._tracks_3d is not None and self._tracks_3d.get_subscription_count() > 0
            wanted = wanted or (with_markers and self.wants_markers_3d())
        if not wanted or self._depth is None:
            return None
        objects = [track.object for track in tracks.tracks]
        return self._depth.place_now(objects, tracks.header, tracks.image_wh, tolerance_s)

    def publish_tracks_3d(self, tracks: Tracks, places: Places, is_sure: Callable[[Track], bool] | None) -> None:
        """Publish where in space what is followed is in one frame, and markers of it where `is_sure` is given."""
        with self._lock:
            if self._closed or self._tracks_3d is None:
                return
            if self._tracks_3d.get_subscription_count() > 0:
                self._tracks_3d.publish(tracks_3d_message(tracks, places))
            if is_sure is not None and self.wants_markers_3d():
                self._space[1].publish(track_markers_message(tracks, places, is_sure))

    def drawn(self, header: FrameHeader, draw: Callable[[], Pixels], jpeg_quality: int) -> Callable[[], None] | None:
        """Draw the annotated image if anyone looks.

        Args:
            header: Of the image.
            draw: Makes the picture.
            jpeg_quality: 1 to 100.

        Returns:
            What publishes the picture, or None when nobody subscribes and nothing was drawn.

        Raises:
            ImageError: The picture does not fit a JPEG.
        """
        with self._lock:
            raw = not self._closed and self._annotated.get_subscription_count() > 0
            jpeg = not self._closed and self._annotated_jpeg.get_subscription_count() > 0
        if not (raw or jpeg):
            return None
        rgb, message_header = draw(), header_message(header)
        raw_message = image_message(rgb, message_header) if raw else None
        jpeg_picture = jpeg_message(rgb, message_header, jpeg_quality) if jpeg else None

        def publish() -> None:
            with self._lock:
                if raw_message is not None and not self._closed:
                    self._annotated.publish(raw_message)
                if jpeg_picture is not None and not self._closed:
                    self._annotated_jpeg.publish(jpeg_picture)

        return publish
