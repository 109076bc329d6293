"""The .json beside a .rec of prepare_imagenet: its settings, its classes, their counts, and what was left out."""
import json

from runtime import UserError

from data.recordio import MADE_BY


def check_settings(path, settings):
    """UserError unless the .json that is there has these settings."""
    facts = read_facts(path)
    differing = [name for name in settings if facts.get(name) != settings[name]]
    if differing:
        parts = ['%s %.40s instead of %.40s' % (name, facts.get(name), settings[name]) for name in differing]
        raise UserError('%s* is there, made of other images or with other settings (%s): remove it, or choose another '
                        '--out' % (path[:-len('json')], ', '.join(parts)))


def report(done, final):
    """What the .json of a finished split says, after printing it in short."""
    facts = finished_facts(final)
    counts = facts['counts']
    print('%s.rec %s: %d images, %d classes of %d to %d, shorter side %d'
          % (final, done, sum(counts), len(counts), min(counts), max(counts), facts['size']))
    return facts


def finished_facts(stem):
    """The settings, `counts` and `left_out` of a .rec that was written to its end."""
    facts = read_facts(stem + '.json')
    if not is_list(facts.get('counts'), int) or not is_list(facts.get('left_out'), str) or \
            len(facts['counts']) != len(facts['class_names']):
        raise UserError('%s.json does not say how many images of each class were written' % stem)
    return facts


def read_facts(path):
    """The settings of a .rec from the .json beside it."""
    try:
        with open(path) as file:
            facts = json.load(file)
        if facts['made_by'] == MADE_BY and isinstance(facts['size'], int) and is_list(facts['class_names'], str):
            return facts
    except (ValueError, KeyError, TypeError, RecursionError):
        pass
    raise UserError('%s is not a file of %s, or is damaged' % (path, MADE_BY))


def is_list(value, kind):
    return isinstance(value, list) and all(isinstance(item, kind) for item in value)
