package main

import (
	"bufio"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"text/tabwriter"
)

// parts says where a server's CPU time goes: by package, in each by what the
// runtime was doing for it. A sample counts for the innermost package on its
// stack that is not the standard library, so the runtime's and the kernel's work
// is charged to whoever asked for it.
type parts struct {
	total int
	by    map[string]*[activities]int
}

// activity is what a sample was spent on, seen from its owner.
type activity int

const (
	ownCode    activity = iota // the package's code, and the library's for it
	allocation                 // memory, zeroing and helping the collector included
	growth                     // copying a goroutine's stack to a larger one
	waking                     // channels, locks, parking and scheduling
	kernel                     // system calls, page faults, interrupts
	activities
)

var activityNames = [activities]string{"own code", "allocation", "stack growth", "waking", "kernel"}

// causes tell the activity from a function on the stack, the innermost first.
var causes = []struct {
	prefix string
	what   activity
}{
	{"runtime.newstack", growth},
	{"runtime.copystack", growth},
	{"runtime.morestack", growth},
	{"runtime.malloc", allocation},
	{"runtime.newobject", allocation},
	{"runtime.growslice", allocation},
	{"runtime.makeslice", allocation},
	{"runtime.gcAssist", allocation},
	{"runtime.rawbyteslice", allocation},
	{"runtime.chan", waking},
	{"runtime.select", waking},
	{"runtime.gopark", waking},
	{"runtime.goready", waking},
	{"runtime.ready", waking},
	{"runtime.sem", waking},
	{"runtime.park_m", waking},
	{"runtime.schedule", waking},
	{"runtime.mcall", waking},
	{"runtime.newproc", waking},
	{"runtime.goexit0", waking},
	{"runtime.gdestroy", waking},
	{"runtime.wakep", waking},
	{"runtime.lock", waking},
	{"runtime.unlock", waking},
	{"sync.", waking},
	{"internal/sync.", waking},
}

// owners shorten the packages that are told apart. The first that a function's
// name begins with counts.
var owners = []struct{ prefix, name string }{
	{"github.com/triglot/triglot/", ""},
	{"go.etcd.io/etcd/server/v3/", "etcd "},
	{"go.etcd.io/bbolt", "bbolt"},
	{"go.etcd.io/raft/v3", "raft"},
	{"github.com/cockroachdb/pebble/v2", "pebble"},
	{"google.golang.org/grpc", "grpc"},
	{"golang.org/x/net/http2", "grpc"},
	{"google.golang.org/protobuf", "protobuf"},
	{"github.com/prometheus", "prometheus"},
	{"go.opentelemetry.io", "opentelemetry"},
	{"go.uber.org/zap", "zap"},
	{"main.", "main"},
}

// collectors are the runtime's own goroutines.
var collectors = []string{"runtime.gcBgMarkWorker", "runtime.bgsweep", "runtime.bgscavenge", "runtime.gcStart"}

// readParts counts the samples of "perf script -F ip,sym": a block of lines per
// sample, one frame a line, the innermost first.
func readParts(script io.Reader) (*parts, error) {
	p := &parts{by: map[string]*[activities]int{}}
	var stack []frame
	flush := func() {
		if len(stack) > 0 {
			p.add(stack)
			stack = stack[:0]
		}
	}
	lines := bufio.NewScanner(script)
	lines.Buffer(nil, 1<<20)
	for lines.Scan() {
		address, symbol, found := strings.Cut(strings.TrimSpace(lines.Text()), " ")
		if !found {
			flush()
			continue
		}
		stack = append(stack, frame{function: symbol, kernel: strings.HasPrefix(address, "ffff")})
	}
	flush()
	return p, lines.Err()
}

// frame is one function of a stack.
type frame struct {
	function string
	kernel   bool
}

func (p *parts) add(stack []frame) {
	owner, what := ownerOf(stack)
	counts := p.by[owner]
	if counts == nil {
		counts = new([activities]int)
		p.by[owner] = counts
	}
	counts[what]++
	p.total++
}

// ownerOf charges a stack to a package and an activity.
func ownerOf(stack []frame) (string, activity) {
	what := ownCode
	for _, f := range stack {
		if f.kernel {
			what = kernel
			continue
		}
		if name := packageOf(f.function); name != "" {
			return name, what
		}
		if what == kernel {
			continue
		}
		for _, cause := range causes {
			if strings.HasPrefix(f.function, cause.prefix) {
				what = cause.what
				break
			}
		}
		for _, collector := range collectors {
			if strings.HasPrefix(f.function, collector) {
				return "garbage collector", what
			}
		}
	}
	if what == kernel || what == waking {
		return "scheduler", what
	}
	return "runtime", what
}

// packageOf names the package of a function, "" for the standard library's.
func packageOf(function string) string {
	for _, owner := range owners {
		rest, found := strings.CutPrefix(function, owner.prefix)
		if !found {
			continue
		}
		if !strings.HasSuffix(owner.prefix, "/") {
			return owner.name
		}
		var path string
		if slash := strings.LastIndexByte(cutTypes(rest), '/'); slash >= 0 {
			path = rest[:slash+1] + before(rest[slash+1:], ".")
		} else {
			path = before(rest, ".")
		}
		return owner.name + path
	}
	return ""
}

// cutTypes drops the type arguments and receivers, which may hold slashes.
func cutTypes(function string) string { return before(before(function, "["), "(") }

func before(text, separator string) string {
	head, _, _ := strings.Cut(text, separator)
	return head
}

// print writes the parts, the greatest first, as microseconds of CPU per
// operation. cpuMicros is what all the samples amount to.
func (p *parts) print(w io.Writer, cpuMicros float64) error {
	names := slices.SortedFunc(maps.Keys(p.by), func(a, b string) int {
		if order := sum(p.by[b]) - sum(p.by[a]); order != 0 {
			return order
		}
		return strings.Compare(a, b)
	})
	table := &strings.Builder{}
	fmt.Fprintf(table, "us/op\tshare\t%s\t package\n", strings.Join(activityNames[:], "\t"))
	micros := func(samples int) float64 { return cpuMicros * float64(samples) / float64(p.total) }
	for _, name := range names {
		samples := sum(p.by[name])
		fmt.Fprintf(table, "%.2f\t%.1f%%\t", micros(samples), 100*float64(samples)/float64(p.total))
		for _, n := range p.by[name] {
			fmt.Fprintf(table, "%.2f\t", micros(n))
		}
		fmt.Fprintf(table, " %s\n", name)
	}
	fmt.Fprintf(table, "%.2f\t100%%\t", cpuMicros)
	for what := range activities {
		samples := 0
		for _, counts := range p.by {
			samples += counts[what]
		}
		fmt.Fprintf(table, "%.2f\t", micros(samples))
	}
	fmt.Fprintln(table, " in all")
	return align(w, table.String())
}

func sum(counts *[activities]int) int {
	total := 0
	for _, n := range counts {
		total += n
	}
	return total
}

// align writes a text whose columns end in tabs as a table.
func align(w io.Writer, text string) error {
	table := tabwriter.NewWriter(w, 0, 0, 2, ' ', tabwriter.AlignRight)
	if _, err := io.WriteString(table, text); err != nil {
		return err
	}
	return table.Flush()
}
