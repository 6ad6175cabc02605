// Package rendezvous is the directory in which the nodes of a cluster find each other: what each of them has there while it
// lives, and the lock of the cluster. It knows files, and nothing of what nodes say to each other.
//
// What always holds:
//
//   - The directory is a hint, a connection is the truth. A node is alive as long as it holds the lock of its file, which
//     the kernel gives back when it dies, however it dies. Whoever finds the files of a dead node removes them.
//   - A socket that can be found is one that listens, and its lock file was there before it.
//   - Files that are not a node's are left alone: plain files, links, foreign names.
//   - What somebody removes of a node's files, or the whole directory, can be made again.
package rendezvous
