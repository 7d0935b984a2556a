"""Which syncs are shown to be needed, and why the others stay. `make powercut` checks both lists.

A sync that is new in the code is in neither list, which a test notices.
"""

from __future__ import annotations

_FOLDER = "files.py make_folder sync_folder"
_WHOLE_DATA = "files.py put_whole sync_descriptor"
_WHOLE_NAME = "files.py put_whole sync_folder"

# Without any one of these a power cut breaks a promise.
NEEDED = (
    "log/tail.py commit sync_data",
    "log/segment.py create_segment sync_data",
    "log/segment.py create_segment sync_folder",
    "log/tail.py _cut_back sync_data",
    "log/recover.py _make_durable sync_descriptor",
    "log/retention.py remove_segments sync_folder",
    "archive/batch.py finish sync_descriptor",
    "archive/batch.py finish sync_folder",
    f"{_FOLDER} < folder.py create make_folder",
    f"{_FOLDER} #2 < state/insertions.py _begin make_folder",
    f"{_WHOLE_DATA} < archive/folder.py put_pack put_whole",
    f"{_WHOLE_DATA} < folder.py create put_whole",
    f"{_WHOLE_DATA} < folder.py fix_clock put_whole",
    f"{_WHOLE_DATA} < log/partitions.py _store put_whole",
    f"{_WHOLE_DATA} < log/stamping.py accept_clock put_whole",
    f"{_WHOLE_DATA} < process/places.py adopt put_whole",
    f"{_WHOLE_DATA} < state/ages.py write put_whole",
    f"{_WHOLE_DATA} < state/insertions.py _make_file put_whole",
    f"{_WHOLE_DATA} < state/secrets.py _make_key put_whole",
    f"{_WHOLE_NAME} < archive/folder.py put_pack put_whole",
    f"{_WHOLE_NAME} < folder.py create put_whole",
    f"{_WHOLE_NAME} < folder.py fix_clock put_whole",
    f"{_WHOLE_NAME} < log/partitions.py _store put_whole",
    f"{_WHOLE_NAME} < log/stamping.py accept_clock put_whole",
    f"{_WHOLE_NAME} < process/places.py adopt put_whole",
    f"{_WHOLE_NAME} < state/ages.py write put_whole",
    f"{_WHOLE_NAME} < state/insertions.py _make_file put_whole",
    f"{_WHOLE_NAME} < state/secrets.py _make_key put_whole",
)

_BY_CREATE = "`DataFolder.create` made the folder durable before anything else could be done"
_OWN_NAME = "it syncs the data folder's own name, which `DataFolder.create` made durable"
_BY_LIST = "the list of partitions is put whole into the same parent folder before any append"

# Without these nothing breaks.
KEPT = {
    "log/recover.py _cut sync_data": (
        "the new segment's header, durable before the cut, already says where the old one ends; "
        "with it a folder that was recovered looks as recovery left it, at one sync a start"
    ),
    "log/recover.py _remove_empty sync_folder": (
        "a segment without an entry that comes back is passed over and removed again; "
        "retention's own sync of the folder comes before any gap could be seen"
    ),
    f"{_FOLDER} #2 < folder.py create make_folder": (
        "the format file is put whole into the same folder before `create` returns"
    ),
    f"{_FOLDER} < log/writer.py open make_folder": _BY_LIST,
    f"{_FOLDER} #2 < log/writer.py open make_folder": _BY_LIST,
    f"{_FOLDER} < log/partitions.py register_partition make_folder": _BY_CREATE,
    f"{_FOLDER} #2 < log/partitions.py register_partition make_folder": _BY_CREATE,
    f"{_FOLDER} < log/stamping.py accept_clock make_folder": _BY_CREATE,
    f"{_FOLDER} #2 < log/stamping.py accept_clock make_folder": _BY_CREATE,
    f"{_FOLDER} < archive/folder.py put_pack make_folder": _BY_CREATE,
    f"{_FOLDER} #2 < archive/folder.py put_pack make_folder": _BY_CREATE,
    f"{_FOLDER} < archive/batch.py _begin begin_folder": _BY_CREATE,
    f"{_FOLDER} #2 < archive/batch.py _begin begin_folder": _BY_CREATE,
    f"{_FOLDER} < archive/batch.py _begin begin_folder #2": _BY_CREATE,
    f"{_FOLDER} #2 < archive/batch.py _begin begin_folder #2": _BY_CREATE,
    f"{_FOLDER} < state/ages.py write make_folder": _BY_CREATE,
    f"{_FOLDER} #2 < state/ages.py write make_folder": _BY_CREATE,
    f"{_FOLDER} < process/places.py adopt make_folder": _OWN_NAME,
    f"{_FOLDER} #2 < process/places.py adopt make_folder": (
        "the first pack's folder is made after it, which syncs the data folder, before the "
        "checkpoint that names the copy"
    ),
    f"{_FOLDER} < state/insertions.py _begin make_folder": _OWN_NAME,
}

# How SQLite must sync, in the words of the code.
PRAGMAS = [
    "state/database.py journal_mode = wal",
    "state/database.py synchronous = full",
    "state/processing.py journal_mode = wal",
    "state/processing.py mmap_size = ",
    "state/processing.py synchronous = full",
]
