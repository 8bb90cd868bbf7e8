// An OTLP/gRPC server on grpc-go that does what a Collector cannot be configured to do.
//
//	grpc_go --cert server.crt --key server.key [--client-ca ca.crt] [FLAG]...
//
// It prints `listening PORT` once it serves on 127.0.0.1, then one line of JSON per export that it accepts:
//
//	{"signal": "traces", "names": ["GET /", "query"], "client": "my-application", "connection": "127.0.0.1:40100"}
//
// It ends when its standard input does.
package main

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"flag"
	"fmt"
	"io"
	"log"
	"net"
	"os"
	"sync"
	"sync/atomic"
	"time"

	"go.opentelemetry.io/collector/pdata/plog/plogotlp"
	"go.opentelemetry.io/collector/pdata/pmetric/pmetricotlp"
	"go.opentelemetry.io/collector/pdata/ptrace/ptraceotlp"
	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials"
	_ "google.golang.org/grpc/encoding/gzip"
	"google.golang.org/grpc/peer"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/durationpb"
)

var (
	cert       = flag.String("cert", "", "the server's certificate, a PEM `file`")
	key        = flag.String("key", "", "its private key, a PEM `file`")
	clientCA   = flag.String("client-ca", "", "the CA of the clients' certificates, a PEM `file`")
	clientAuth = flag.String("client-auth", "require-and-verify", "none, request, require-any, verify-if-given or require-and-verify")
	tlsVersion = flag.String("tls", "", "the only TLS version, 1.2 or 1.3")
	answerGzip = flag.Bool("answer-gzip", false, "compress every answer, even if the client does not accept gzip")
	delay      = flag.Duration("delay", 0, "how long to wait before each answer")
	refuse     = flag.Int64("refuse", 0, "how many exports to refuse, the first ones")
	code       = flag.Uint("code", uint(codes.Unavailable), "the status code of a refusal")
	message    = flag.String("message", "refused", "the status message of a refusal")
	retryDelay = flag.Duration("retry-delay", 0, "the delay in the RetryInfo of a refusal; without it there is no RetryInfo")
)

// An export that was accepted.
type export struct {
	Signal     string   `json:"signal"`
	Names      []string `json:"names"`
	Client     string   `json:"client"`
	Connection string   `json:"connection"`
}

type server struct {
	stdout  sync.Mutex
	refused atomic.Int64
	refusal error
}

// Answers an export: nil accepts it.
func (s *server) answer(ctx context.Context, signal string, names []string) error {
	time.Sleep(*delay)
	if s.refused.Add(1) <= *refuse {
		return s.refusal
	}
	accepted := export{Signal: signal, Names: names}
	if client, ok := peer.FromContext(ctx); ok {
		accepted.Connection = client.Addr.String()
		if info, ok := client.AuthInfo.(credentials.TLSInfo); ok && len(info.State.PeerCertificates) > 0 {
			accepted.Client = info.State.PeerCertificates[0].Subject.CommonName
		}
	}
	s.stdout.Lock()
	defer s.stdout.Unlock()
	return json.NewEncoder(os.Stdout).Encode(accepted)
}

type traces struct {
	ptraceotlp.UnimplementedGRPCServer
	*server
}

func (t *traces) Export(ctx context.Context, request ptraceotlp.ExportRequest) (ptraceotlp.ExportResponse, error) {
	var names []string
	for _, resource := range request.Traces().ResourceSpans().All() {
		for _, scope := range resource.ScopeSpans().All() {
			for _, span := range scope.Spans().All() {
				names = append(names, span.Name())
			}
		}
	}
	return ptraceotlp.NewExportResponse(), t.answer(ctx, "traces", names)
}

type metrics struct {
	pmetricotlp.UnimplementedGRPCServer
	*server
}

func (m *metrics) Export(ctx context.Context, request pmetricotlp.ExportRequest) (pmetricotlp.ExportResponse, error) {
	var names []string
	for _, resource := range request.Metrics().ResourceMetrics().All() {
		for _, scope := range resource.ScopeMetrics().All() {
			for _, metric := range scope.Metrics().All() {
				names = append(names, metric.Name())
			}
		}
	}
	return pmetricotlp.NewExportResponse(), m.answer(ctx, "metrics", names)
}

type logs struct {
	plogotlp.UnimplementedGRPCServer
	*server
}

func (l *logs) Export(ctx context.Context, request plogotlp.ExportRequest) (plogotlp.ExportResponse, error) {
	var names []string
	for _, resource := range request.Logs().ResourceLogs().All() {
		for _, scope := range resource.ScopeLogs().All() {
			for _, record := range scope.LogRecords().All() {
				names = append(names, record.Body().AsString())
			}
		}
	}
	return plogotlp.NewExportResponse(), l.answer(ctx, "logs", names)
}

func tlsConfig() (*tls.Config, error) {
	certificate, err := tls.LoadX509KeyPair(*cert, *key)
	if err != nil {
		return nil, err
	}
	config := &tls.Config{Certificates: []tls.Certificate{certificate}}
	auth, known := map[string]tls.ClientAuthType{
		"none":               tls.NoClientCert,
		"request":            tls.RequestClientCert,
		"require-any":        tls.RequireAnyClientCert,
		"verify-if-given":    tls.VerifyClientCertIfGiven,
		"require-and-verify": tls.RequireAndVerifyClientCert,
	}[*clientAuth]
	if !known {
		return nil, fmt.Errorf("--client-auth %s is unknown", *clientAuth)
	}
	config.ClientAuth = auth
	if *clientCA != "" {
		pem, err := os.ReadFile(*clientCA)
		if err != nil {
			return nil, err
		}
		config.ClientCAs = x509.NewCertPool()
		if !config.ClientCAs.AppendCertsFromPEM(pem) {
			return nil, fmt.Errorf("%s has no certificate", *clientCA)
		}
	}
	switch *tlsVersion {
	case "":
	case "1.2":
		config.MinVersion, config.MaxVersion = tls.VersionTLS12, tls.VersionTLS12
	case "1.3":
		config.MinVersion, config.MaxVersion = tls.VersionTLS13, tls.VersionTLS13
	default:
		return nil, fmt.Errorf("--tls %s is unknown", *tlsVersion)
	}
	return config, nil
}

func run() error {
	config, err := tlsConfig()
	if err != nil {
		return err
	}
	refusal := status.New(codes.Code(*code), *message)
	if *retryDelay > 0 {
		refusal, err = refusal.WithDetails(&errdetails.RetryInfo{RetryDelay: durationpb.New(*retryDelay)})
		if err != nil {
			return err
		}
	}
	options := []grpc.ServerOption{grpc.Creds(credentials.NewTLS(config))}
	if *answerGzip {
		// Deprecated, but the only way to compress what was not asked for.
		options = append(options, grpc.RPCCompressor(grpc.NewGZIPCompressor()))
	}
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	shared := &server{refusal: refusal.Err()}
	grpcServer := grpc.NewServer(options...)
	ptraceotlp.RegisterGRPCServer(grpcServer, &traces{server: shared})
	pmetricotlp.RegisterGRPCServer(grpcServer, &metrics{server: shared})
	plogotlp.RegisterGRPCServer(grpcServer, &logs{server: shared})
	fmt.Println("listening", listener.Addr().(*net.TCPAddr).Port)
	go func() {
		io.Copy(io.Discard, os.Stdin)
		grpcServer.Stop()
	}()
	return grpcServer.Serve(listener)
}

func main() {
	flag.Parse()
	if err := run(); err != nil {
		log.Fatal(err)
	}
}
