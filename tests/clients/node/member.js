// One member of a group, kafkajs: HOST:PORT GROUP TOPIC MODE, as python/member.py says.
'use strict'

const fs = require('node:fs')
const { Kafka, logLevel } = require('kafkajs')

const [servers, groupId, topic, mode] = process.argv.slice(2)
if (mode !== 'default') throw new Error(`kafkajs has no ${mode}`)

const own = (partitions) => fs.writeSync(1, ['own', ...partitions].join(' ') + '\n')

async function main() {
  const kafka = new Kafka({ brokers: [servers], clientId: 'node', logLevel: logLevel.ERROR, retry: { retries: 100 } })
  const session = process.env.SESSION_MS ? { sessionTimeout: Number(process.env.SESSION_MS) } : {}
  const consumer = kafka.consumer({ groupId, ...session })
  consumer.on(consumer.events.REBALANCING, () => own([]))
  consumer.on(consumer.events.GROUP_JOIN, ({ payload }) => {
    // Who was thrown out joins again without a rebalancing.
    own([])
    own(payload.memberAssignment[topic] ?? [])
  })
  process.on('SIGTERM', () => consumer.disconnect().then(() => process.exit(0)))
  await consumer.connect()
  await consumer.subscribe({ topics: [topic], fromBeginning: true })
  await consumer.run({
    eachMessage: async ({ partition, message }) => {
      fs.writeSync(1, `read ${partition} ${message.offset} ${message.value}\n`)
    },
  })
}

main().catch((error) => {
  console.error(error)
  process.exit(1)
})
