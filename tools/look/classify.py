"""python -m tools.classify IMAGE... --model ... --params ...: name what is on pictures.

    python -m tools.classify coat.jpg --model atac --blocks 1 --dataset fashion-mnist --params FILE --top 3

The flags that describe the network are those of evaluate.py, and must be those of the training. Pictures of any size
and of any format that OpenCV reads are brought to what the network was trained on (data/pictures.py).
"""
import json
import sys

import runtime  # noqa: F401  (before mxnet)

import inference
from cli import parsing, trained
from cli.exits import run_script
from cli.kinds import at_least


def parse_args(argv=None):
    parser = parsing.parser_of('classify', 'Name what is on pictures.')
    parser.add_argument('images', nargs='+', metavar='IMAGE')
    parser.add_argument('--top', type=at_least(1), default=5, help='how many classes to name')
    parser.add_argument('--json', action='store_true', help='print one JSON list and nothing else')
    return trained.parse(parser, argv)


def main(argv=None):
    """Classify and print; returns [{'image', 'top': [{'class', 'probability'}, ...]}, ...]."""
    args = parse_args(argv)
    _, net = trained.load_network(args)
    classifier = inference.Classifier(net, args.dataset, args.class_names, args.input_size, args.crop_ratio)
    found = [{'image': image, 'top': [{'class': name, 'probability': probability} for name, probability in top]}
             for image, top in zip(args.images, classifier.top_k(args.images, args.top))]
    if args.json:
        print(json.dumps(found))
    for entry in found if not args.json else []:
        print(entry['image'])
        for guess in entry['top']:
            print('  %6.2f %%  %s' % (100 * guess['probability'], guess['class']))
    return found


if __name__ == '__main__':
    sys.exit(run_script(main))
