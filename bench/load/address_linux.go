package load

import (
	"net"
	"os"
	"strconv"

	"golang.org/x/sys/unix"
)

func sockaddr(addr *net.TCPAddr) (family int, target unix.Sockaddr) {
	if ip := addr.IP.To4(); ip != nil {
		return unix.AF_INET, &unix.SockaddrInet4{Port: addr.Port, Addr: [4]byte(ip)}
	}
	return unix.AF_INET6, &unix.SockaddrInet6{Port: addr.Port, Addr: [16]byte(addr.IP)}
}

// threads returns the ids of the threads of this process.
func threads() (ids []int) {
	tasks, _ := os.ReadDir("/proc/self/task") // without /proc there is at least the caller's
	for _, task := range tasks {
		if id, err := strconv.Atoi(task.Name()); err == nil {
			ids = append(ids, id)
		}
	}
	return append(ids, 0)
}
