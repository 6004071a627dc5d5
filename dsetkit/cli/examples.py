"""One example of each verb, for the end of its --help."""

EXAMPLES = {
    "demo": "demo --output demo",
    "generate": "generate --foregrounds cutouts --backgrounds photos --output data/mine "
    "--num-samples 2000",
    "import-rgbd": "import-rgbd --root frames --depth-scale 5000 --output data/frames",
    "import-images": "import-images --root fg_bg.zip bg.zip --system 001 --output data/theirs",
    "cut-outs": "cut-outs --images photos --masks masks --output cutouts",
    "relabel": "relabel data/mine --teacher onnx:depth.onnx --output data/relabelled",
    "export-model": "export-model runs/mask/best.safetensors --output mask.onnx",
    "predict": "predict --checkpoint mask.onnx --composite photos --background empty_room.jpg "
    "--output predictions",
    "info": "info data/mine",
    "verify": "verify data/mine --quick",
    "stats": "stats data/mine --split train",
    "split": "split data/mine --split-by sample --shares 0.8 0.1 0.1",
    "show": "show data/mine --split test --output sheet.png",
    "report": "report data/mine --run runs/mask runs/depth --output report.html",
    "export": "export data/mine --format coco --output data/coco",
    "convert": "convert data/mine --layout recipe --output data/small",
    "merge": "merge data/part-1 data/part-2 --output data/whole",
    "list-shards": "list-shards data/mine",
    "cache": "cache data/mine --size 64 --output cache",
}
