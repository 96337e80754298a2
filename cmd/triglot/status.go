package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/triglot/triglot/cmd/triglot/config"
	httpfront "github.com/triglot/triglot/frontends/http"
)

// errUnhealthy ends triglot status once all has been shown: what is wrong stands there.
var errUnhealthy = errors.New("the cluster is not healthy")

// statusFlags are those of triglot status, which are etcdctl's.
type statusFlags struct {
	statusClient
	endpoints []string
	format    string
	json      bool
	timeout   time.Duration
}

func (p *process) statusCommand(status *int) *cobra.Command {
	f := &statusFlags{}
	cmd := &cobra.Command{
		Use:   "status",
		Short: "Show the members of a cluster: who leads, how far each is, sessions, alarms",
		Long: `Show the members of a cluster. Any one member is asked, and asks the others.

The status is 0 if the cluster is healthy: all members answer, they have a leader and
there is no alarm. While authentication is on, only root is shown anything; whoever may
open the socket of the member's own calls (admin.sock in its data directory) is, too.
Each flag is also an environment variable of etcdctl's (ETCDCTL_ENDPOINTS).`,
		Example: `  triglot status
  triglot status --endpoints https://10.0.0.1:2379 --cacert ca.pem --user root:secret
  triglot status --endpoints unix://data/admin.sock -w json`,
		Args: noArguments,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := takeETCDCTL(cmd.Flags(), p.environ); err != nil {
				return &config.UsageError{Err: err}
			}
			err := p.status(f)
			if errors.Is(err, errUnhealthy) {
				*status = exitFailed
				return nil
			}
			return err
		},
	}
	f.define(cmd.Flags())
	return cmd
}

func (f *statusFlags) define(fs *pflag.FlagSet) {
	fs.StringSliceVar(&f.endpoints, "endpoints", []string{"http://127.0.0.1:2379"}, "addresses of members for clients, of which the first that answers is enough; also unix://path")
	fs.StringVar(&f.caFile, "cacert", "", "authorities of the members' certificates")
	fs.StringVar(&f.certFile, "cert", "", "certificate to show")
	fs.StringVar(&f.keyFile, "key", "", "key of cert")
	fs.BoolVar(&f.trustAll, "insecure-skip-tls-verify", false, "take any certificate of a member's")
	fs.StringVar(&f.user, "user", "", "user and password, as name:password")
	fs.StringVar(&f.password, "password", "", "password of the user, if it is not behind the name")
	fs.StringVarP(&f.format, "write-out", "w", "table", "table or json")
	fs.BoolVar(&f.json, "json", false, "the same as -w json")
	fs.DurationVar(&f.timeout, "command-timeout", 5*time.Second, "how long a member may take to answer")
	fs.SortFlags = false
}

// takeETCDCTL sets the flags that were not given from etcdctl's variables.
func takeETCDCTL(fs *pflag.FlagSet, environ []string) error {
	var errs []error
	for _, entry := range environ {
		name, value, _ := strings.Cut(entry, "=")
		name, ok := strings.CutPrefix(name, "ETCDCTL_")
		flag := fs.Lookup(strings.ReplaceAll(strings.ToLower(name), "_", "-"))
		if ok && flag != nil && !flag.Changed && value != "" {
			errs = append(errs, fs.Set(flag.Name, value))
		}
	}
	return errors.Join(errs...)
}

// status shows the cluster.
func (p *process) status(f *statusFlags) error {
	if f.json {
		f.format = "json"
	}
	if f.format != "table" && f.format != "json" {
		return &config.UsageError{Err: fmt.Errorf("--write-out %q is not one of table, json", f.format)}
	}
	report, unanswered, err := f.ask()
	if err != nil {
		return err
	}
	problems := unanswered
	if report != nil {
		problems = problemsOf(report)
	}
	switch {
	case f.format == "json":
		b, err := json.Marshal(struct {
			Healthy  bool     `json:"healthy"`
			Problems []string `json:"problems"`
			*httpfront.StatusReport
		}{len(problems) == 0, problems, report})
		if err != nil {
			return err
		}
		say(p.stdout, string(b)+"\n")
	case report == nil:
		return errors.New(strings.Join(problems, "; "))
	default:
		say(p.stdout, statusTable(report, problems))
	}
	if len(problems) > 0 {
		return errUnhealthy
	}
	return nil
}

// ask asks the endpoints one after the other until one answers. If none does it returns no
// report, and why each did not.
func (f *statusFlags) ask() (report *httpfront.StatusReport, unanswered []string, err error) {
	for _, endpoint := range f.endpoints {
		ctx, cancel := context.WithTimeout(context.Background(), f.timeout)
		report, err = f.report(ctx, strings.TrimSpace(endpoint))
		cancel()
		if usage := (*config.UsageError)(nil); err == nil || errors.As(err, &usage) {
			return report, nil, err
		}
		unanswered = append(unanswered, endpoint+": "+f.whyUnanswered(err))
	}
	if len(unanswered) == 0 {
		return nil, nil, &config.UsageError{Err: errors.New("--endpoints is empty: name a member")}
	}
	return nil, unanswered, nil
}

// problemsOf is what keeps a cluster from being healthy, each in one line.
func problemsOf(r *httpfront.StatusReport) []string {
	problems := []string{}
	add := func(format string, args ...any) {
		if text := fmt.Sprintf(format, args...); !slices.Contains(problems, text) {
			problems = append(problems, text)
		}
	}
	if r.Leader == "" {
		add("member %s knows no leader", r.Asked)
	}
	if up, voters := majorityOf(r); 2*up <= voters {
		add("only %d of %d voting members answer: without a majority nothing can be written", up, voters)
	}
	for i := range r.Members {
		m := &r.Members[i]
		switch {
		case m.Error != "" && m.Name == "":
			add("member %s has not started", m.ID)
		case m.Error != "":
			add("member %s (%s) does not answer: %s", m.ID, m.Name, m.Error)
		case m.State.Leader != r.Leader:
			add("member %s (%s) takes %s for the leader", m.ID, m.Name, orNobody(m.State.Leader))
		}
		if m.State == nil {
			continue
		}
		for _, a := range m.State.Alarms {
			add("alarm %s of member %s", a.Type, a.Member)
		}
	}
	return problems
}

// majorityOf counts the members that vote, and those of them that answer.
func majorityOf(r *httpfront.StatusReport) (up, voters int) {
	for i := range r.Members {
		if m := &r.Members[i]; m.Role != "learner" && m.Role != "observer" {
			voters++
			if m.State != nil {
				up++
			}
		}
	}
	return up, voters
}

func orNobody(id string) string {
	if id == "" {
		return "nobody"
	}
	return id
}

// statusTable draws a report for a person.
func statusTable(r *httpfront.StatusReport, problems []string) string {
	rows := [][]string{{"ID", "NAME", "ROLE", "CLIENT URLS", "TERM", "REVISION", "APPLIED", "LAG", "DB SIZE", "SESSIONS", "ALARMS"}}
	alarms := make(map[string][]string)
	up := 0
	for i := range r.Members {
		if s := r.Members[i].State; s != nil {
			up++
			for _, a := range s.Alarms {
				if !slices.Contains(alarms[a.Member], a.Type) {
					alarms[a.Member] = append(alarms[a.Member], a.Type)
				}
			}
		}
	}
	for i := range r.Members {
		m := &r.Members[i]
		row := []string{m.ID, m.Name, m.Role, strings.Join(m.ClientURLs, ","), "-", "-", "-", "-", "-", "-", strings.Join(alarms[m.ID], ",")}
		if s := m.State; s != nil {
			number := func(n uint64) string { return strconv.FormatUint(n, 10) }
			copy(row[4:], []string{
				number(s.Term), strconv.FormatInt(int64(s.Rev), 10), number(s.Applied), number(s.Lag),
				bytesText(s.Size), strconv.Itoa(s.Sessions),
			})
		}
		rows = append(rows, row)
	}
	var b strings.Builder
	fmt.Fprintf(&b, "cluster %s, leader %s, %d of %d members answer\n", r.Cluster, orNobody(r.Leader), up, len(r.Members))
	b.WriteString(table(rows...))
	for _, text := range problems {
		b.WriteString(text + "\n")
	}
	return b.String()
}
