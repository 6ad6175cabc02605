// Package versioned stores the value that a loader returns under the version that its key had when the load began, and returns it
// as long as the key has that version. The versions are in a table, which the processes of a machine can share: then all of them
// see a change at once. The package knows no mesh and no messages.
package versioned

// How it works, for maintainers.
//
// By a hash of its bytes, a key is in one of many classes, and each class has a counter. A load notes the counter before the
// loader is called, and its value is stored with that; a change raises the counter, and Get serves only values that were stored
// with the present one. So a change is an atomic addition. All processes see it at once: no process has to receive or confirm a
// message, even if some hang or are dead. Other keys that are in the same class by chance are loaded again needlessly.
//
// An update also sets a mark, and while a key has a mark, its loaded values are not stored. Each process has a slot of marks, and
// locks a byte of the table's memory for it. A mark in a slot that is not locked is of a process that has ended in an update. The
// writes that it has sent to the database may still be committed, so the mark and the slot stay for the commit timeout after
// another process has seen it.
//
// The memory of a shared table is a file without a name whose size is sealed, see memfd_create(2): nothing can remove or
// truncate it.
//
// The order in which the words of the table are read and written matters. These are its rules:
//
//   - The mark of an update is set before the counter is raised: [values.Block]. A load notes the counter before it looks for
//     marks, and both before it calls the loader: [Store.beginLocked]. So a load that began with the new counter sees the mark.
//   - The drop of a tag is counted before the tag's counter is raised: [Table.dropTag]. A load that ends notes the counters of
//     its tags before it looks at that count: [values.tag].
//   - A stored value has the counter from the begin of its load, and each Get compares it: [values.isFresh].
//   - A mark stays as long as one update of its group is open in that process: [Table.unmark].
//   - The marks of a slot are cleared by the process that holds its lock. If the process before has left marks, that is after
//     the commit timeout: [Table.sweep], [takeSlot]. The time counts for one turn of the slot only: [Table.isSettled].
//   - A process that leaves while an update is open leaves its marks: [Table.Close].
