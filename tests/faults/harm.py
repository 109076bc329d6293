"""What harms a file: cut at a random place, or with one bit flipped."""

REFUSALS = (ValueError, OSError)


def content_of(path):
    with open(path, 'rb') as file:
        return file.read()


def write(path, content):
    with open(path, 'wb') as file:
        file.write(content)


def cut(content, random):
    return content[:random.randint(len(content))]


def flip(content, random):
    content = bytearray(content)
    content[random.randint(len(content))] ^= 1 << random.randint(8)
    return content
