# What encode.pyx gives other compiled modules.

cpdef tuple encode_record(
    object stamp,
    object objects,
    object tombstones,
    object now,
    object salt,
    object mark,
    object synced,
)
