"""Files that are whole or not there, and folders that one process at a time uses."""
import errno
import fcntl
import os
import stat

import pytest

from disk import is_one_of, locked, open_text, written

FULL = OSError(errno.ENOSPC, 'No space left on device')


def write(paths, content):
    with written(*paths) as unfinished:
        for path in unfinished:
            with open(path, 'w') as file:
                file.write(content)


def contents(folder):
    return {name: (folder / name).read_text() for name in os.listdir(folder)}


def test_files_get_their_names_in_order_and_after_all_are_on_the_disk(tmp_path, monkeypatch):
    done, flush, replace = [], os.fsync, os.replace
    monkeypatch.setattr(os, 'fsync', lambda handle: done.append('flush') or flush(handle))
    monkeypatch.setattr(os, 'replace', lambda old, new: done.append(os.path.basename(new)) or replace(old, new))
    write([str(tmp_path / name) for name in 'ab'], 'x')
    assert done == ['flush', 'flush', 'a', 'b', 'flush'] and contents(tmp_path) == {'a': 'x', 'b': 'x'}


@pytest.mark.parametrize('function', ['open', 'fsync', 'replace'])
@pytest.mark.parametrize('error, raised, words', [
    (FULL, OSError, 'cannot write .*a: No space left'), (KeyboardInterrupt(), KeyboardInterrupt, '')])
def test_what_fails_leaves_what_was_there(tmp_path, monkeypatch, function, error, raised, words):
    paths = [str(tmp_path / name) for name in 'ab']
    write(paths, 'old')

    def fail(*_):
        raise error

    monkeypatch.setattr(os, function, fail)
    with pytest.raises(raised, match=words):
        write(paths, 'new')
    monkeypatch.undo()
    assert contents(tmp_path) == {'a': 'old', 'b': 'old'}


def test_a_text_that_only_the_size_of_a_file_allows_is_not_read(tmp_path):
    (tmp_path / 'x.log').write_text('a')
    os.truncate(str(tmp_path / 'x.log'), 1 << 30)
    with pytest.raises(OSError, match='x.log has 1024 MB: at most 512 MB are read'):
        open_text(str(tmp_path / 'x.log'))


def test_what_a_link_leads_to_stays(tmp_path):
    """Whoever sent the folder of a run may have put one there."""
    (tmp_path / 'thesis').write_text('mine')
    for target in 'thesis', 'nothing':
        os.symlink(str(tmp_path / target), str(tmp_path / 'a.new'))
        write([str(tmp_path / 'a')], 'x')
        assert contents(tmp_path) == {'thesis': 'mine', 'a': 'x'} and not os.path.islink(str(tmp_path / 'a'))


def test_one_process_at_a_time_writes_a_file(tmp_path):
    path = str(tmp_path / 'a')
    (tmp_path / 'a.new').write_text('left by a process that was killed')
    with written(path) as (new,):
        assert not os.path.getsize(new)
        with pytest.raises(OSError, match='another process is writing .*a.new'):
            write([path], 'other')
        with open(new, 'w') as file:
            file.write('first')
    assert contents(tmp_path) == {'a': 'first'}


def test_an_error_of_another_file_and_one_of_the_content_stay_as_they_are(tmp_path):
    with pytest.raises(FileNotFoundError, match="No such file or directory: 'absent'"), written(str(tmp_path / 'a')):
        open('absent')
    with pytest.raises(KeyError), written(str(tmp_path / 'a')) as (new,), open(new, 'w'):
        raise KeyError
    assert contents(tmp_path) == {}


def test_a_file_system_that_cannot_flush_folders_will_do(tmp_path, monkeypatch):
    flush = os.fsync

    def fsync(handle):
        if stat.S_ISDIR(os.fstat(handle).st_mode):
            raise OSError(errno.EINVAL, 'Invalid argument')
        flush(handle)

    monkeypatch.setattr(os, 'fsync', fsync)
    write([str(tmp_path / 'a')], 'x')
    assert contents(tmp_path) == {'a': 'x'}


def test_a_name_without_a_folder_is_of_this_one(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    write(['a'], 'x')
    assert contents(tmp_path) == {'a': 'x'}


def test_a_file_is_known_by_any_name(tmp_path):
    (tmp_path / 'a').write_text('x')
    os.link(tmp_path / 'a', tmp_path / 'b')
    (tmp_path / 'c').symlink_to(tmp_path / 'a')
    (tmp_path / 'other').write_text('x')
    names = {name: str(tmp_path / name) for name in ('a', 'b', 'c', 'other', 'absent')}
    found = {name: is_one_of(path, [names['absent'], names['a']]) for name, path in names.items()}
    assert found == {'a': True, 'b': True, 'c': True, 'other': False, 'absent': False}


def test_a_folder_is_locked_by_one_at_a_time(tmp_path):
    folder = str(tmp_path / 'run')
    words = 'another run is using %s: wait for it, or choose another --out$' % folder
    with locked(folder, '--out'), pytest.raises(OSError, match=words), locked(folder, '--out'):
        pass
    with locked(folder, '--out'):
        pass


def test_a_lock_is_removed_and_a_folder_that_was_made_for_nothing(tmp_path):
    for made_before in (False, True):
        folder = tmp_path / 'run'
        if made_before:
            folder.mkdir()
        with pytest.raises(KeyError), locked(str(folder), '--out'):
            raise KeyError
        assert folder.exists() == made_before
    with locked(str(folder), '--out'):
        (folder / 'x').write_text('x')
    assert contents(folder) == {'x': 'x'}


def test_somebodys_own_file_called_lock_stays(tmp_path):
    (tmp_path / 'lock').write_text('mine')
    with locked(str(tmp_path), '--out'):
        pass
    assert contents(tmp_path) == {'lock': 'mine'}


def test_a_lock_whose_file_the_last_run_has_just_removed_is_none(tmp_path, monkeypatch):
    """Opened before it was removed, locked after it: a third run could lock a new file of that name."""
    flock = fcntl.flock
    monkeypatch.setattr(fcntl, 'flock', lambda *arguments: os.remove(arguments[0].name) or flock(*arguments))
    with pytest.raises(OSError, match='another run'), locked(str(tmp_path), '--out'):
        pass


@pytest.mark.parametrize('below', ['', 'run'])
def test_a_file_is_no_folder(tmp_path, below):
    (tmp_path / 'file').write_text('x')
    with pytest.raises(NotADirectoryError, match='is not a folder: choose another --out'), \
            locked(os.path.join(str(tmp_path / 'file'), below), '--out'):
        pass
    assert contents(tmp_path) == {'file': 'x'}


def test_where_nothing_can_be_locked_there_is_a_warning(tmp_path, monkeypatch, caplog):
    def unsupported(*_):
        raise OSError(errno.ENOLCK, 'No locks available')

    monkeypatch.setattr(fcntl, 'flock', unsupported)
    with locked(str(tmp_path), '--out'):
        assert caplog.messages == ['%s cannot be locked (No locks available): start no second run there' % tmp_path]
