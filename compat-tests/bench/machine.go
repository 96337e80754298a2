package main

import (
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"strings"

	"github.com/triglot/triglot/compat-tests/zkserver"
)

// etcdVersion is what compat-tests/tools/go.mod pins.
const etcdVersion = "3.7.3"

// machine says what was measured on, for the page.
type machine struct {
	CPU       string `json:"cpu"`
	Cores     int    `json:"cores"`
	MemoryGiB int    `json:"memory_gib"`
	Kernel    string `json:"kernel"`
	Java      string `json:"java"`
	Go        string `json:"go"`
	// Commit is the one that Triglot was built from, as git describes it.
	Commit string `json:"commit"`
}

// thisMachine asks the machine. What it does not say is left empty.
func thisMachine(root string) machine {
	m := machine{Cores: runtime.NumCPU(), Go: runtime.Version()}
	m.CPU = lineOf("/proc/cpuinfo", "model name")
	var kib int
	if _, err := fmt.Sscanf(lineOf("/proc/meminfo", "MemTotal"), "%d", &kib); err == nil {
		m.MemoryGiB = (kib + 1<<19) >> 20
	}
	if text, err := os.ReadFile("/proc/sys/kernel/osrelease"); err == nil {
		m.Kernel = strings.TrimSpace(string(text))
	}
	if out, err := exec.Command("java", "-version").CombinedOutput(); err == nil {
		first, _, _ := strings.Cut(string(out), "\n")
		m.Java = strings.ReplaceAll(first, `"`, "")
	}
	describe := exec.Command("git", "describe", "--tags", "--always", "--dirty")
	describe.Dir = root
	if out, err := describe.Output(); err == nil {
		m.Commit = strings.TrimSpace(string(out))
	}
	return m
}

// lineOf is what stands behind "name:" in a file.
func lineOf(path, name string) string {
	text, err := os.ReadFile(path)
	if err != nil {
		return ""
	}
	for line := range strings.Lines(string(text)) {
		key, value, found := strings.Cut(line, ":")
		if found && strings.TrimSpace(key) == name {
			return strings.TrimSpace(value)
		}
	}
	return ""
}

func (m machine) String() string {
	return fmt.Sprintf("%s, %d cores, %d GiB, Linux %s", m.CPU, m.Cores, m.MemoryGiB, m.Kernel)
}

// peers names the servers for the page.
func (m machine) peers() string {
	return fmt.Sprintf("Triglot %s (%s), etcd %s, ZooKeeper %s (%s)", m.Commit, m.Go, etcdVersion, zkserver.Version, m.Java)
}
