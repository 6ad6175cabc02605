// Package rendezvous is the directory in which the nodes of a cluster find each other: the files of each live node, and the
// lock of the cluster. It knows files, and nothing of the messages between nodes.
//
// What always holds:
//
//   - The directory is a hint, a connection is the truth. A node is alive as long as it holds the lock of its file, which
//     the kernel releases when it dies, however it dies. Each node removes the files of dead nodes that it finds.
//   - A socket that can be found listens, and its lock file was there before it.
//   - Files that are not a node's are left alone: plain files, links, foreign names.
//   - Removed files of a node, or the whole directory, can be made again.
package rendezvous
