"""Fetch a file once: progress bar, checksum, and an atomic move into place (pooch does all three)."""
import os
import sys

import pooch
import requests


def fetch(url, checksum, folder):
    """Path of the file at `url` inside `folder`, downloaded if there is none of its name.

    checksum: 'md5:...' or 'sha256:...'. Raises OSError when the download fails or the bytes are not the right ones;
    nothing is left then.
    """
    path = os.path.join(folder, os.path.basename(url))
    is_new = not os.path.isdir(folder)
    if os.path.isdir(path):
        raise OSError('%s is a folder, where a download would go: move it away' % path)
    if os.path.exists(path):  # pooch would replace a file that has another checksum
        return path
    try:
        return pooch.retrieve(url, checksum, fname=os.path.basename(url), path=folder,
                              downloader=pooch.HTTPDownloader(progressbar=sys.stderr.isatty(), timeout=30))
    except requests.RequestException as error:
        raise OSError('cannot download %s (%s); put the file into %s yourself'
                      % (url, type(error).__name__, folder)) from error
    except ValueError as error:
        raise OSError('%s does not have the checksum %s: the download was cut or tampered with'
                      % (url, checksum)) from error
    finally:
        if is_new and os.path.isdir(folder) and not os.listdir(folder):
            os.rmdir(folder)
