package main

import (
	"errors"
	"flag"
	"fmt"
	"io"
	"slices"
)

// pagePairs is how many pairs of a cell docs/benchmarks.md wants: of fewer the median says little.
const pagePairs = 7

// config is the command line.
type config struct {
	only    string
	pairs   int
	tries   int
	scale   float64
	again   bool
	list    bool
	short   bool
	page    bool
	out     string
	dir     string
	triglot string
	against string
	client  string
	profile string
	pgo     string
}

func parseFlags(args []string, usage io.Writer) (*config, error) {
	c := &config{}
	flags := flag.NewFlagSet("bench", flag.ContinueOnError)
	flags.SetOutput(usage)
	flags.StringVar(&c.only, "only", "", "measure the cells whose names match this expression; all if empty")
	flags.IntVar(&c.pairs, "pairs", pagePairs, "pairs of a cell; each measures every server once; the page wants so many")
	flags.IntVar(&c.tries, "tries", maxTries, "how often a pair is measured if others keep the machine busy")
	flags.Float64Var(&c.scale, "scale", 1, "how much of each cell's keys and operations: 0.01 shows that it runs at all")
	flags.BoolVar(&c.again, "again", false, "measure what is finished once more")
	flags.BoolVar(&c.list, "list", false, "list the cells, what is kept of them and the forecast, and measure nothing")
	flags.BoolVar(&c.short, "short", false, "the guard against regressions: five cells in under three minutes")
	flags.BoolVar(&c.page, "page", false, "write the page from what is kept, and measure nothing")
	flags.StringVar(&c.out, "out", "", "the page; docs/benchmarks.md if empty, - for none")
	flags.StringVar(&c.dir, "dir", "", "where results and data directories are; .build/bench if empty; choose a real disk")
	flags.StringVar(&c.triglot, "triglot", "", "path of the triglot binary (built from this tree if empty); writes no page without -out")
	flags.StringVar(&c.against, "against", "", "measure beside this build of triglot instead of the stock servers, and write no page")
	flags.StringVar(&c.client, "client", "", "path of the triglot binary that makes the load; -triglot's if empty")
	flags.StringVar(&c.profile, "profile", "", "record CPU profiles of the cells' servers with perf into this directory, and measure nothing")
	flags.StringVar(&c.pgo, "pgo", "", "write a CPU profile for the compiler to this file, and measure nothing")
	if err := flags.Parse(args); err != nil {
		return nil, err
	}
	if c.pairs < 1 || c.tries < 1 || c.scale <= 0 || c.scale > 1 || flags.NArg() > 0 {
		return nil, errors.New("-pairs and -tries must be positive, -scale above 0 and at most 1, and nothing follows the flags")
	}
	return c, c.fit(flags)
}

// useless are, of each flag that says what to do, or beside what, the flags that it would not heed.
var useless = map[string][]string{
	"list":    {"short", "page", "profile", "pgo", "out"},
	"short":   {"page", "profile", "pgo", "only", "pairs", "tries", "scale", "again", "against", "out"},
	"page":    {"profile", "pgo", "only", "tries", "scale", "again", "against"},
	"profile": {"pgo", "pairs", "tries", "again", "out"},
	"pgo":     {"only", "pairs", "tries", "scale", "again", "against", "out"},
	"against": {"out"},
}

// fit refuses flags that do not go together: a page about other servers than it says is worse
// than none.
func (c *config) fit(flags *flag.FlagSet) error {
	given := map[string]bool{}
	flags.Visit(func(f *flag.Flag) { given[f.Name] = true })
	for name, others := range useless {
		i := slices.IndexFunc(others, func(other string) bool { return given[other] })
		if given[name] && i >= 0 {
			return fmt.Errorf("-%s does not go with -%s", others[i], name)
		}
	}
	if c.page && !c.pages() {
		return fmt.Errorf("the page is of this tree's build and of %d pairs: with -triglot, or fewer -pairs, say with -out where it is to be", pagePairs)
	}
	if c.scale != 1 && c.out != "" && c.out != "-" {
		return errors.New("-out: a page is not written with -scale")
	}
	return nil
}

// pages says whether what is measured may be put on a page. That of the project is only for all the
// work of enough pairs by this tree's build.
func (c *config) pages() bool {
	if c.against != "" || c.scale != 1 || c.out == "-" {
		return false
	}
	return c.out != "" || c.triglot == "" && c.pairs >= pagePairs
}
