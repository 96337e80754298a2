package main

import (
	"debug/buildinfo"
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
	// Go is the version that Triglot was built with, and Commit what it was built from, as git
	// describes it.
	Go     string `json:"go"`
	Commit string `json:"commit"`
}

// machine says what this is, and what Triglot was built from: the tree, or, of a binary that was
// given, what it says itself.
func (c *config) machine(rig *rig, root string) machine {
	m := thisMachine()
	m.Java = rig.ids.Java
	m.Commit = "binary " + rig.ids.Triglot
	if info, err := buildinfo.ReadFile(rig.starter.binaries[roleTriglot]); err == nil {
		m.Go = info.GoVersion
		for _, s := range info.Settings {
			if s.Key == "vcs.revision" {
				m.Commit = s.Value
			}
		}
	}
	if c.triglot != "" {
		return m
	}
	describe := exec.Command("git", "describe", "--tags", "--always", "--dirty")
	describe.Dir = root
	if out, err := describe.Output(); err == nil {
		m.Commit = strings.TrimSpace(string(out))
	}
	return m
}

// thisMachine asks the machine. What it does not say is left empty.
func thisMachine() machine {
	m := machine{Cores: runtime.NumCPU()}
	m.CPU = lineOf("/proc/cpuinfo", "model name")
	var kib int
	if _, err := fmt.Sscanf(lineOf("/proc/meminfo", "MemTotal"), "%d", &kib); err == nil {
		m.MemoryGiB = (kib + 1<<19) >> 20
	}
	if text, err := os.ReadFile("/proc/sys/kernel/osrelease"); err == nil {
		m.Kernel = strings.TrimSpace(string(text))
	}
	return m
}

// javaVersion is what the Java that runs ZooKeeper calls itself, "" if there is none.
func javaVersion() string {
	out, err := exec.Command("java", "-version").CombinedOutput()
	if err != nil {
		return ""
	}
	first, _, _ := strings.Cut(string(out), "\n")
	return strings.ReplaceAll(first, `"`, "")
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
