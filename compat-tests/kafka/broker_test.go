package kafka

import (
	"bytes"
	"context"
	_ "embed"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/triglot/triglot/compat-tests/jars"
	"github.com/triglot/triglot/compat-tests/server"
)

//go:embed pom.xml
var pom []byte

// The main classes of Kafka's scripts.
const (
	mainBroker   = "kafka.Kafka"                                     // kafka-server-start.sh
	mainTopics   = "org.apache.kafka.tools.TopicCommand"             // kafka-topics.sh
	mainProducer = "kafka.tools.ConsoleProducer"                     // kafka-console-producer.sh
	mainConsumer = "org.apache.kafka.tools.consumer.ConsoleConsumer" // kafka-console-consumer.sh
)

// patience is how long anything that is due may take; a JVM starts in seconds on a
// busy machine.
const patience = 90 * time.Second

const logConfig = `log4j.rootLogger=INFO, stderr
log4j.appender.stderr=org.apache.log4j.ConsoleAppender
log4j.appender.stderr.Target=System.err
log4j.appender.stderr.layout=org.apache.log4j.PatternLayout
log4j.appender.stderr.layout.ConversionPattern=[%d] %p %m (%c)%n
`

// broker is a Kafka broker as a process of its own.
type broker struct {
	t         *testing.T
	classpath string
	dir       string
	port      int
	run       *server.Run
}

// startBroker starts a broker whose metadata is at ZooKeeper addresses, a,b.
func startBroker(t *testing.T, zookeeper string) *broker {
	classpath, err := jars.Classpath("kafka", pom)
	require.NoError(t, err)
	b := &broker{t: t, classpath: classpath, dir: t.TempDir()}
	b.port, err = server.FreePort()
	require.NoError(t, err)
	require.NoError(t, os.WriteFile(b.path("log4j.properties"), []byte(logConfig), 0o644))
	require.NoError(t, os.WriteFile(b.path("server.properties"), fmt.Appendf(nil, `broker.id=1
listeners=PLAINTEXT://127.0.0.1:%d
log.dirs=%s
zookeeper.connect=%s/kafka
zookeeper.session.timeout.ms=10000
num.partitions=1
offsets.topic.num.partitions=1
offsets.topic.replication.factor=1
transaction.state.log.replication.factor=1
transaction.state.log.num.partitions=1
transaction.state.log.min.isr=1
group.initial.rebalance.delay.ms=0
delete.topic.enable=true
auto.create.topics.enable=false
`, b.port, b.path("logs"), zookeeper), 0o644))
	t.Cleanup(func() {
		if b.run != nil {
			b.kill()
		}
		if t.Failed() {
			log, _ := os.ReadFile(b.path("broker.log")) // an empty one says nothing
			t.Logf("end of the broker's log:\n%s", server.Tail(string(log), 60))
		}
	})
	b.start()
	return b
}

func (b *broker) path(name string) string { return filepath.Join(b.dir, name) }

func (b *broker) address() string { return fmt.Sprintf("127.0.0.1:%d", b.port) }

func (b *broker) java(ctx context.Context, heap string, args ...string) *exec.Cmd {
	cmd := exec.CommandContext(ctx, "java", append([]string{
		"-Xmx" + heap, "-XX:TieredStopAtLevel=1", "-cp", b.classpath,
		"-Dlog4j.configuration=file:" + b.path("log4j.properties"),
	}, args...)...)
	cmd.Dir = b.dir
	return cmd
}

// start runs the broker and waits until it serves.
func (b *broker) start() {
	log, err := os.OpenFile(b.path("broker.log"), os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o644)
	require.NoError(b.t, err)
	defer log.Close() //nolint:errcheck // the child has its own copy
	before, err := log.Seek(0, 2)
	require.NoError(b.t, err)
	cmd := b.java(context.Background(), "512m", mainBroker, b.path("server.properties"))
	cmd.Stdout, cmd.Stderr = log, log
	b.run, err = server.NewRun(cmd)
	require.NoError(b.t, err)
	require.Eventually(b.t, func() bool {
		select {
		case <-b.run.Done():
			return true
		default:
		}
		text, err := os.ReadFile(b.path("broker.log"))
		return err == nil && bytes.Contains(text[before:], []byte("started (kafka.server.KafkaServer)"))
	}, patience, 100*time.Millisecond)
	select {
	case <-b.run.Done():
		require.Fail(b.t, "the broker has ended")
	default:
	}
}

// stop ends the broker as an operator does.
func (b *broker) stop() {
	b.t.Helper()
	require.NoError(b.t, b.run.Terminate())
	b.run = nil
}

// kill ends the broker with SIGKILL: its session outlives it for a while.
func (b *broker) kill() {
	b.t.Helper()
	require.NoError(b.t, b.run.Kill())
	b.run = nil
}

// tool runs one of Kafka's command line tools to its end and returns what it prints.
func (b *broker) tool(input string, args ...string) string {
	b.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	cmd := b.java(ctx, "256m", args...)
	cmd.Stdin = strings.NewReader(input)
	var out, complaints bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &complaints
	require.NoError(b.t, cmd.Run(), "%s\n%s\n%s", args, out.String(), complaints.String())
	return out.String()
}

func (b *broker) topics(args ...string) string {
	b.t.Helper()
	return b.tool("", append([]string{mainTopics, "--bootstrap-server", b.address()}, args...)...)
}

// produce writes lines to a topic.
func (b *broker) produce(topic string, lines ...string) {
	b.t.Helper()
	b.tool(strings.Join(lines, "\n")+"\n", mainProducer, "--bootstrap-server", b.address(), "--topic", topic,
		"--producer-property", "acks=all")
}

// consume reads the first n lines of a topic, as a member of a group.
func (b *broker) consume(topic, group string, n int) []string {
	b.t.Helper()
	out := b.tool("", mainConsumer, "--bootstrap-server", b.address(), "--topic", topic, "--group", group,
		"--from-beginning", "--max-messages", fmt.Sprint(n), "--timeout-ms", "60000")
	return strings.Split(strings.TrimSpace(out), "\n")
}
