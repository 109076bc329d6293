"""python -m tools.classify IMAGE... --params FILE: name what is on pictures.

The description of the weights says everything else. For a file without one, the flags of its training are needed, which
are those of evaluate.py. Pictures of any size and of the formats in data/decode.py are brought to what the network was
trained on (data/pictures.py). One that cannot be read is named, and the exit code is 2 in the end.
"""
import json
import sys
from functools import partial

import runtime  # noqa: F401  (before mxnet)
from runtime import printable

import inference
from cli import parsing, trained
from cli.exits import attempt, run_script
from cli.kinds import at_least


def parse_args(argv=None):
    parser = parsing.parser_of('classify', 'Name what is on pictures.')
    parser.add_argument('images', nargs='+', metavar='IMAGE')
    parser.add_argument('--top', type=at_least(1), default=5, help='how many classes to name')
    parser.add_argument('--json', action='store_true', help='print one JSON list and nothing else')
    return trained.parse(parser, argv)


def classify(classifier, top, image):
    """{'image', 'top': [{'class', 'probability'}, ...]} of the likeliest classes of a picture."""
    likeliest, = classifier.top_k([image], top)
    return {'image': image, 'top': [{'class': name, 'probability': probability} for name, probability in likeliest]}


def show(entry):
    """Print what is on a picture."""
    print(printable(entry['image']))
    for guess in entry['top']:
        print(f'  {100 * guess["probability"]:6.2f} %  {guess["class"]}')


def main(argv=None):
    """Classify and print; returns classify(...) of the pictures."""
    args = parse_args(argv)
    _, net = trained.load_network(args)
    classifier = inference.Classifier(net, args.dataset, args.class_names, args.input_size, args.crop_ratio)
    found, all_read = attempt(partial(classify, classifier, args.top), args.images)
    if args.json:
        print(json.dumps(found))
    for entry in [] if args.json else found:
        show(entry)
    if not all_read:
        sys.exit(2)
    return found


if __name__ == '__main__':
    sys.exit(run_script(main))
