// Package versioned stores what a loader returns under the version that its key had when the load began, and returns it as long
// as the key has that version. The versions are in a table, which the processes of a machine can share: then a change that one
// of them makes is there for all at once. It knows no mesh and no messages.
package versioned

// How it works, for those who change it.
//
// By a hash of its bytes, a key is in one of many classes, and each class has a counter. A load notes the counter before the
// loader is called, and what it returns is stored with that; a change raises the counter, and Get serves only what was stored
// with the present one. So a change is an atomic addition. It is there for all processes at once, whatever they are doing:
// nobody has to be told or to confirm, and it does not matter who hangs or is dead. Keys that are in the same class by chance
// are loaded again, for nothing.
//
// An update also sets a mark, and while there is one, what is loaded is not stored. Each process has a slot of marks, and the
// lock of a byte of the table's memory for it. A mark in a slot that is not locked is of a process that has ended in an update.
// What that has sent to the database may still be committed, so the mark stays for the commit timeout after another process has
// seen it, and so does the slot.
//
// The memory of a shared table is a file without a name whose size is sealed, see memfd_create(2): nothing can remove or
// truncate it.
//
// The order in which the words of the table are read and written matters. These are its rules:
//
//   - The mark of an update is set before the counter is raised: [values.Block]. A load notes the counter before it looks for
//     marks, and both before it calls the loader: [Store.beginLocked]. So a load that began with the new counter sees the mark.
//   - Who drops a tag counts that before the tag's counter is raised: [Table.dropTag]. A load that ends notes the counters of
//     its tags before it looks at that count: [values.tag].
//   - What is stored has the counter from the begin of its load, and each Get looks at that: [values.isFresh].
//   - A mark stays as long as one update of its group is open in that process: [Table.unmark].
//   - The marks of a slot are cleared by the process that has its lock, and when the process before has been gone for
//     the commit timeout if it has left marks: [Table.sweep], [takeSlot]. The time counts for one turn of the slot only:
//     [Table.isSettled].
//   - A process that leaves while an update is open leaves its marks: [Table.Close].
