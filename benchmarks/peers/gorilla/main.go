// The peer in Go: gorilla/websocket with encoding/json, as its users write it.
package main

import (
	"encoding/base64"
	"encoding/json"
	"flag"
	"fmt"
	"net"
	"net/http"

	"github.com/gorilla/websocket"
)

type chat struct {
	Text  string `json:"text"`
	Image string `json:"image"`
}

type reply struct {
	Reply string `json:"reply"`
	N     int    `json:"n"`
}

var upgrader = websocket.Upgrader{
	ReadBufferSize:  64 * 1024,
	WriteBufferSize: 4096,
	CheckOrigin:     func(*http.Request) bool { return true },
}

func serve(w http.ResponseWriter, r *http.Request) {
	socket, err := upgrader.Upgrade(w, r, nil)
	if err != nil {
		return
	}
	defer socket.Close()
	for {
		_, data, err := socket.ReadMessage()
		if err != nil {
			return
		}
		var message chat
		if json.Unmarshal(data, &message) != nil {
			return
		}
		picture, err := base64.StdEncoding.DecodeString(message.Image)
		if err != nil {
			return
		}
		answer, _ := json.Marshal(reply{message.Text, len(picture)})
		if socket.WriteMessage(websocket.TextMessage, answer) != nil {
			return
		}
	}
}

func main() {
	port := flag.Int("port", 0, "0: any")
	flag.Parse()
	http.HandleFunc("/chat", serve)
	listener, err := net.Listen("tcp", fmt.Sprintf("127.0.0.1:%d", *port))
	if err != nil {
		panic(err)
	}
	fmt.Printf("listening on %s\n", listener.Addr())
	http.Serve(listener, nil)
}
