//go:build unix

package main

import (
	"io/fs"
	"os"
	"path/filepath"
	"syscall"
)

// isOwn tells whether a file belongs to this user.
func isOwn(info fs.FileInfo) bool {
	uid, ok := uidOf(info)
	return ok && uid == os.Geteuid()
}

// uidOf returns the owner of a file.
func uidOf(info fs.FileInfo) (uid int, known bool) {
	stat, ok := info.Sys().(*syscall.Stat_t)
	if !ok {
		return 0, false
	}
	return int(stat.Uid), true
}

// isLocked tells whether a master holds the lock of a cluster: as long as it does, no other can start.
func isLocked(dir string) bool {
	file, err := os.Open(filepath.Join(dir, masterLock))
	if err != nil {
		return false // a master that ends removes it
	}
	defer file.Close()
	// A shared lock, which processes that want to become master take for a query.
	return syscall.Flock(int(file.Fd()), syscall.LOCK_SH|syscall.LOCK_NB) != nil
}
