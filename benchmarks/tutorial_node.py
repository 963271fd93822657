"""The straightforward way to put Qwen2.5-VL on a robot, in its plainest form: what `against_tutorial` compares with.

One callback does all of it for each image: messages, `process_vision_info`, processor, `generate`,
`batch_decode`, supervision, publish. The subscription has rclpy's usual queue of ten.
"""

from __future__ import annotations

import argparse
import json

import numpy as np
import rclpy
import supervision as sv
import torch
from PIL import Image as Picture
from qwen_vl_utils import process_vision_info
from rclpy.executors import ExternalShutdownException
from rclpy.node import Node
from sensor_msgs.msg import Image
from std_msgs.msg import String
from transformers import AutoProcessor, Qwen2_5_VLForConditionalGeneration

MIN_PIXELS, MAX_PIXELS = 224 * 224, 1024 * 1024


class TutorialNode(Node):
    """Answers one question about every image it gets hold of."""

    def __init__(self, model: str, instruction: str) -> None:
        super().__init__("tutorial")
        self.model = Qwen2_5_VLForConditionalGeneration.from_pretrained(model, dtype="auto")
        self.model.generation_config.update(do_sample=False, repetition_penalty=1.0)
        self.processor = AutoProcessor.from_pretrained(model)
        self.instruction = instruction
        self.answers = self.create_publisher(String, "~/answer", 10)
        self.pictures = self.create_publisher(Image, "~/annotated_image", 10)
        self.create_subscription(Image, "/image", self.on_image, 10)

    def on_image(self, message: Image) -> None:
        """Answer, draw and publish."""
        rgb = np.frombuffer(message.data, np.uint8).reshape(message.height, message.width, 3)
        # The bounds of the checkpoint's own processor: the product keeps to them too.
        own = self.processor.image_processor.size
        image = {
            "type": "image",
            "image": Picture.fromarray(rgb),
            "min_pixels": min(MIN_PIXELS, own["longest_edge"]),
            "max_pixels": min(MAX_PIXELS, own["longest_edge"]),
        }
        messages = [{"role": "user", "content": [image, {"type": "text", "text": self.instruction}]}]
        text = self.processor.apply_chat_template(messages, tokenize=False, add_generation_prompt=True)
        images, videos = process_vision_info(messages)
        inputs = self.processor(
            text=[text], images=images, videos=videos, padding=True, do_resize=False, return_tensors="pt"
        )
        with torch.inference_mode():
            written = self.model.generate(**inputs, max_new_tokens=1024)[:, inputs["input_ids"].shape[1] :]
        reply = self.processor.batch_decode(written, skip_special_tokens=True)[0]
        rows, columns = inputs["image_grid_thw"][0, 1:].tolist()
        found = sv.Detections.from_vlm(
            sv.VLM.QWEN_2_5_VL, reply, input_wh=(columns * 14, rows * 14), resolution_wh=(message.width, message.height)
        )
        drawn = sv.BoxAnnotator(color_lookup=sv.ColorLookup.INDEX).annotate(rgb.copy(), found)
        drawn = sv.LabelAnnotator(color_lookup=sv.ColorLookup.INDEX).annotate(drawn, found)
        picture = Image(header=message.header, height=message.height, width=message.width, encoding="rgb8")
        picture.step = message.width * 3
        picture.data.frombytes(drawn.tobytes())
        self.pictures.publish(picture)
        stamp = {"sec": message.header.stamp.sec, "nanosec": message.header.stamp.nanosec}
        said = {"stamp": stamp, "objects": len(found), "passes": int(written.shape[1])}
        self.answers.publish(String(data=json.dumps(said)))


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", required=True)
    parser.add_argument("--instruction", required=True)
    args = parser.parse_args()
    rclpy.init(args=[])
    try:
        rclpy.spin(TutorialNode(args.model, args.instruction))
    except (KeyboardInterrupt, ExternalShutdownException):
        pass
    finally:
        rclpy.try_shutdown()


if __name__ == "__main__":
    main()
