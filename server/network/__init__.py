"""The coordinator on a network: its home, enrolment by invitation, the gateway, and the processes it keeps running."""
