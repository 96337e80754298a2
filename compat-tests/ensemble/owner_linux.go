package ensemble

import (
	"bufio"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"
)

// owner returns which of the processes has the loopback socket at that address, 0 if
// none of them has.
func owner(at *net.TCPAddr, pids []int) (int, error) {
	inode, err := inodeOf(at)
	if err != nil || inode == "" {
		return 0, err
	}
	want := "socket:[" + inode + "]"
	for _, pid := range pids {
		dir := filepath.Join("/proc", strconv.Itoa(pid), "fd")
		files, err := os.ReadDir(dir)
		if err != nil {
			continue // it has ended
		}
		for _, f := range files {
			if to, err := os.Readlink(filepath.Join(dir, f.Name())); err == nil && to == want {
				return pid, nil
			}
		}
	}
	return 0, nil
}

// inodeOf finds the socket whose own address is the one given; "" if there is none.
func inodeOf(at *net.TCPAddr) (inode string, err error) {
	ip := at.IP.To4()
	if ip == nil {
		return "", fmt.Errorf("%v is not an IPv4 address", at)
	}
	local := fmt.Sprintf("%02X%02X%02X%02X:%04X", ip[3], ip[2], ip[1], ip[0], at.Port)
	table, err := os.Open("/proc/net/tcp")
	if err != nil {
		return "", err
	}
	defer func() { _ = table.Close() }() // it was only read
	lines := bufio.NewScanner(table)
	for lines.Scan() {
		fields := strings.Fields(lines.Text())
		if len(fields) > 9 && fields[1] == local && fields[9] != "0" {
			return fields[9], nil
		}
	}
	return "", lines.Err()
}
