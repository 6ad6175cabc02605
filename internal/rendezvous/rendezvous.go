// Package rendezvous is the directory in which the nodes of a cluster find each other: the files of each live node, and the
// lock of the cluster. It handles files, not the messages between nodes.
//
// What always holds:
//
//   - An entry of the directory is a hint. A node is alive as long as it holds the lock of its file, which the kernel
//     releases when the process dies, however it dies. Each node removes the files of dead nodes that it finds.
//   - A socket with its final name listens, and its lock file was made before it.
//   - Files that are not a node's are left alone: plain files, links, foreign names.
//   - Removed files of a node, or the whole directory, can be made again.
package rendezvous
